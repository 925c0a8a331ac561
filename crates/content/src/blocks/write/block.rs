//! The MJML of each simple block.
//!
//! Must not know where rows and columns begin and end.

use super::super::document::{
    Block, Button, Divider, Footer, Frame, Heading, Html, Image, Line, Network, ProductLayout, Products, Quote, Social,
    Spacer, Text, Video,
};
use super::{Inside, Writer, align, or, padding, stack};

/// Colour of lines that nobody chose.
const FAINT: &str = "#d1d5db";

impl Writer<'_> {
    pub(super) fn block(&mut self, block: &Block, path: &str, inside: Inside) {
        let label = self.label(path, block);
        match block {
            Block::Heading(one) => self.heading(one, label, inside),
            Block::Text(one) => self.text(one, label, inside),
            Block::Image(one) => self.image(one, label, inside),
            Block::Button(one) => self.button(one, label, inside),
            Block::Divider(one) => self.divider(one, inside),
            Block::Spacer(one) => self.spacer(one),
            Block::Social(one) => self.social(one, label, inside),
            Block::Quote(one) => self.quote(one, label, inside),
            Block::Products(one) => self.products(one, label, inside),
            Block::Video(one) => self.video(one, label, inside),
            Block::Html(one) => self.raw_html(one, label, inside),
            // These are no simple blocks: `rows` and `stack` write them, and the checks keep them out of columns.
            Block::Columns(_) | Block::Conditional(_) | Block::Footer(_) => {}
        }
    }

    /// Attributes for the frame of a component.
    fn frame(&self, frame: &Frame, inside: Inside, top: u16, bottom: u16) -> String {
        let side = match inside {
            Inside::Row => 24,
            Inside::Column => 12,
        };
        let background = if frame.background.is_empty() {
            String::new()
        } else {
            format!(" container-background-color=\"{}\"", frame.background)
        };
        format!(" padding=\"{}\"{background}", padding(frame, top, bottom, side))
    }

    fn heading(&mut self, one: &Heading, label: usize, inside: Inside) {
        let theme = self.theme;
        let (size, top) = match one.level {
            1 => (theme.font_size * 7 / 4, 16),
            2 => (theme.font_size * 11 / 8, 12),
            _ => (theme.font_size * 9 / 8, 10),
        };
        let open = format!(
            "<mj-text align=\"{}\" font-family=\"{}\" font-size=\"{size}px\" line-height=\"1.25\" color=\"{}\"{}>\
             <h{level} style=\"margin:0;font-size:{size}px;line-height:1.25;font-weight:bold\">",
            align(one.align),
            stack(theme.heading_font),
            or(&one.color, &theme.text),
            self.frame(&one.frame, inside, top, 8),
            level = one.level,
        );
        self.own(&open);
        self.words(label, "text", &one.text);
        self.own(&format!("</h{}></mj-text>\n", one.level));
    }

    fn text(&mut self, one: &Text, label: usize, inside: Inside) {
        let open = format!(
            "<mj-text css-class=\"r\" align=\"{}\" font-size=\"{}px\" color=\"{}\"{}>",
            align(one.align),
            one.size.unwrap_or(self.theme.font_size),
            or(&one.color, &self.theme.text),
            self.frame(&one.frame, inside, 10, 10),
        );
        self.own(&open);
        self.rich(label, "html", &one.html);
        self.own("</mj-text>\n");
    }

    fn image(&mut self, one: &Image, label: usize, inside: Inside) {
        if one.src.is_empty() {
            return self.warn(label, "no_image", "there is no picture yet: choose one, or remove the block");
        }
        if one.alt.trim().is_empty() {
            self.warn(label, "missing_alt", "people who do not see the picture read nothing: write `alt`");
        }
        let mut open = format!("<mj-image align=\"{}\"{}", align(one.align), self.frame(&one.frame, inside, 10, 10));
        if let Some(width) = one.width {
            open.push_str(&format!(" width=\"{width}px\""));
        }
        if one.rounded {
            open.push_str(&format!(" border-radius=\"{}px\"", self.theme.radius));
        }
        self.own(&open);
        self.address(label, "src", "src", &one.src);
        self.address(label, "href", "href", &one.href);
        self.own(" alt=\"");
        self.attribute(label, "alt", &one.alt);
        self.own("\" />\n");
    }

    fn button(&mut self, one: &Button, label: usize, inside: Inside) {
        if one.href.is_empty() {
            self.warn(label, "empty_link", "this button leads nowhere: write its address");
        }
        if one.label.trim().is_empty() {
            self.warn(label, "no_words", "this button says nothing: write its label");
        }
        let theme = self.theme;
        let width = if one.full_width { " width=\"100%\"" } else { "" };
        let open = format!(
            "<mj-button align=\"{}\" background-color=\"{}\" color=\"{}\" border-radius=\"{}px\" font-size=\"{}px\" \
             font-weight=\"bold\" line-height=\"1.25\" inner-padding=\"12px 24px\"{width}{}",
            align(one.align),
            or(&one.color, &theme.accent),
            or(&one.text_color, &theme.on_accent),
            theme.radius,
            theme.font_size,
            self.frame(&one.frame, inside, 12, 12),
        );
        self.own(&open);
        self.address(label, "href", "href", &one.href);
        self.own(">");
        self.words(label, "label", &one.label);
        self.own("</mj-button>\n");
    }

    fn divider(&mut self, one: &Divider, inside: Inside) {
        let line = match one.line {
            Line::Solid => "solid",
            Line::Dashed => "dashed",
            Line::Dotted => "dotted",
        };
        let mjml = format!(
            "<mj-divider border-color=\"{}\" border-width=\"{}px\" border-style=\"{line}\" width=\"{}%\"{} />\n",
            or(&one.color, FAINT),
            one.thickness,
            one.width,
            self.frame(&one.frame, inside, 12, 12),
        );
        self.own(&mjml);
    }

    fn spacer(&mut self, one: &Spacer) {
        let background = if one.frame.background.is_empty() {
            String::new()
        } else {
            format!(" container-background-color=\"{}\"", one.frame.background)
        };
        self.own(&format!("<mj-spacer height=\"{}px\" padding=\"0\"{background} />\n", one.height));
    }

    fn social(&mut self, one: &Social, label: usize, inside: Inside) {
        let color = or(&one.color, &self.theme.accent).to_owned();
        let open = format!("<mj-text align=\"{}\"{}>", align(one.align), self.frame(&one.frame, inside, 10, 10));
        self.own(&open);
        let mut first = true;
        for link in &one.links {
            let words = if link.label.trim().is_empty() { network(link.network) } else { link.label.as_str() };
            if link.href.is_empty() {
                self.warn(label, "empty_link", &format!("{} leads nowhere: write its address", network(link.network)));
                continue;
            }
            if !first {
                self.own(" &#183; ");
            }
            first = false;
            self.own("<a");
            self.address(label, "href", "href", &link.href);
            self.own(&format!(" style=\"color:{color};text-decoration:underline\">"));
            self.words(label, "label", words);
            self.own("</a>");
        }
        self.own("</mj-text>\n");
    }

    fn quote(&mut self, one: &Quote, label: usize, inside: Inside) {
        let open = format!(
            "<mj-table{}><tr><td style=\"border-left:4px solid {};padding:4px 0 4px 16px;font-style:italic\">",
            self.frame(&one.frame, inside, 12, 12),
            or(&one.color, &self.theme.accent),
        );
        self.own(&open);
        self.words(label, "text", &one.text);
        if !one.author.trim().is_empty() {
            let muted = self.muted("font-style:normal;padding-top:6px");
            self.own(&format!("<div style=\"{muted}\">&#8212; "));
            self.words(label, "author", &one.author);
            self.own("</div>");
        }
        self.own("</td></tr></mj-table>\n");
    }

    /// A style for small print, with more after it.
    fn muted(&self, more: &str) -> String {
        format!("color:{};font-size:{}px;{more}", self.theme.muted, self.theme.font_size * 7 / 8)
    }

    fn products(&mut self, one: &Products, label: usize, inside: Inside) {
        let open = format!("<mj-table{}>", self.frame(&one.frame, inside, 10, 10));
        self.own(&open);
        let has_picture = one.layout == ProductLayout::List && one.items.iter().any(|item| !item.image.is_empty());
        let has_quantity = one.layout == ProductLayout::Table && one.items.iter().any(|item| !item.quantity.is_empty());
        let line = format!("border-bottom:1px solid {FAINT};vertical-align:top;");
        for item in &one.items {
            self.own("<tr>");
            if has_picture {
                self.own(&format!("<td width=\"112\" style=\"{line}width:112px;padding:12px 16px 12px 0\">"));
                if !item.image.is_empty() {
                    let radius = self.theme.radius;
                    self.own("<img width=\"96\"");
                    self.address(label, "src", "image", &item.image);
                    self.own(" alt=\"");
                    let alt = if item.alt.trim().is_empty() { &item.name } else { &item.alt };
                    self.attribute(label, "alt", alt);
                    self.own(&format!("\" style=\"display:block;width:96px;border-radius:{radius}px\">"));
                }
                self.own("</td>");
            }
            self.own(&format!("<td style=\"{line}padding:12px 16px 12px 0\">"));
            self.product_words(item, &one.link_label, label);
            self.own("</td>");
            if has_quantity {
                self.own(&format!("<td align=\"right\" style=\"{line}padding:12px 16px 12px 0;white-space:nowrap\">"));
                self.words(label, "quantity", &item.quantity);
                self.own("</td>");
            }
            self.own(&format!("<td align=\"right\" style=\"{line}padding:12px 0;white-space:nowrap\">"));
            self.words(label, "price", &item.price);
            self.own("</td></tr>");
        }
        if let Some(total) = &one.total {
            let span = 1 + u8::from(has_picture) + u8::from(has_quantity);
            self.own(&format!("<tr><td colspan=\"{span}\" style=\"padding:12px 16px 12px 0;font-weight:bold\">"));
            self.words(label, "label", &total.label);
            self.own("</td><td align=\"right\" style=\"padding:12px 0;font-weight:bold;white-space:nowrap\">");
            self.words(label, "value", &total.value);
            self.own("</td></tr>");
        }
        self.own("</mj-table>\n");
    }

    fn product_words(&mut self, item: &super::super::document::Product, link_label: &str, label: usize) {
        let accent = self.theme.accent.clone();
        let has_link = !item.href.is_empty();
        let name_is_link = has_link && link_label.trim().is_empty();
        self.own("<strong>");
        if name_is_link {
            self.own("<a");
            self.address(label, "href", "href", &item.href);
            self.own(&format!(" style=\"color:{accent};text-decoration:underline\">"));
        }
        self.words(label, "name", &item.name);
        self.own(if name_is_link { "</a></strong>" } else { "</strong>" });
        if !item.description.trim().is_empty() {
            let muted = self.muted("");
            self.own(&format!("<div style=\"{muted}\">"));
            self.words(label, "description", &item.description);
            self.own("</div>");
        }
        if has_link && !name_is_link {
            self.own("<div><a");
            self.address(label, "href", "href", &item.href);
            self.own(&format!(" style=\"color:{accent};text-decoration:underline\">"));
            self.words(label, "link_label", link_label);
            self.own("</a></div>");
        }
    }

    fn video(&mut self, one: &Video, label: usize, inside: Inside) {
        if one.href.is_empty() {
            self.warn(label, "empty_link", "this video leads nowhere: write its address");
        }
        let caption = if one.caption.trim().is_empty() { "Watch the video" } else { one.caption.as_str() };
        let theme = self.theme;
        if one.image.is_empty() {
            let open = format!(
                "<mj-table{}><tr><td align=\"center\" bgcolor=\"{accent}\" style=\"background-color:{accent};border-radius:{}px;padding:48px 16px\"><a",
                self.frame(&one.frame, inside, 10, 10),
                theme.radius,
                accent = theme.accent,
            );
            self.own(&open);
            self.address(label, "href", "href", &one.href);
            self.own(&format!(" style=\"color:{};text-decoration:none;font-weight:bold\">&#9654; ", theme.on_accent));
            self.words(label, "caption", caption);
            self.own("</a></td></tr></mj-table>\n");
            return;
        }
        let open = format!(
            "<mj-image border-radius=\"{}px\"{}",
            theme.radius,
            self.frame(&Frame { padding_bottom: Some(0), ..one.frame.clone() }, inside, 10, 0)
        );
        self.own(&open);
        self.address(label, "src", "image", &one.image);
        self.address(label, "href", "href", &one.href);
        self.own(" alt=\"");
        let alt = if one.alt.trim().is_empty() { caption } else { one.alt.as_str() };
        self.attribute(label, "alt", alt);
        self.own("\" />\n");
        let open = format!(
            "<mj-text align=\"center\"{}><a",
            self.frame(&Frame { padding_top: Some(8), ..one.frame.clone() }, inside, 8, 10)
        );
        self.own(&open);
        self.address(label, "href", "href", &one.href);
        self.own(&format!(" style=\"color:{};text-decoration:underline\">&#9654; ", theme.accent));
        self.words(label, "caption", caption);
        self.own("</a></mj-text>\n");
    }

    fn raw_html(&mut self, one: &Html, label: usize, inside: Inside) {
        let open = format!("<mj-text{}>", self.frame(&one.frame, inside, 10, 10));
        self.own(&open);
        self.html(label, "html", &one.html);
        self.own("</mj-text>\n");
    }

    pub(super) fn footer(&mut self, one: &Footer, label: usize) {
        let theme = self.theme;
        let size = theme.font_size * 13 / 16;
        let open = format!(
            "<mj-section background-color=\"{}\">\n<mj-column>\n\
             <mj-text css-class=\"r\" align=\"{}\" font-size=\"{size}px\" color=\"{}\" padding=\"{}\">",
            or(&one.frame.background, &theme.background),
            align(one.align),
            theme.muted,
            padding(&one.frame, 24, 24, 24),
        );
        self.own(&open);
        if !one.html.trim().is_empty() {
            self.own("<div style=\"margin:0 0 8px\">");
            self.rich(label, "html", &one.html);
            self.own("</div>");
        }
        if one.address {
            self.own("<div style=\"margin:0 0 8px\">");
            self.words(label, "address", "{{ controller_name }}\n{{ postal_address }}");
            self.own("</div>");
        }
        if one.links {
            self.own("<div>");
            let mut links = vec![
                ("unsubscribe_url", "unsubscribe_label", one.unsubscribe_label.as_str(), "Unsubscribe"),
                ("preferences_url", "preferences_label", one.preferences_label.as_str(), "Preferences"),
            ];
            if self.facts.has_privacy {
                links.push(("privacy_url", "privacy_label", one.privacy_label.as_str(), "Privacy"));
            }
            for (number, (variable, field, words, other)) in links.into_iter().enumerate() {
                if number > 0 {
                    self.own(" &#183; ");
                }
                self.own("<a");
                self.address(label, "href", "href", &format!("{{{{ {variable} }}}}"));
                self.own(&format!(" style=\"color:{};text-decoration:underline\">", theme.muted));
                self.words(label, field, if words.trim().is_empty() { other } else { words });
                self.own("</a>");
            }
            self.own("</div>");
        }
        self.own("</mj-text>\n</mj-column>\n</mj-section>\n");
    }
}

/// The name that people know a network by.
const fn network(network: Network) -> &'static str {
    match network {
        Network::Bluesky => "Bluesky",
        Network::Facebook => "Facebook",
        Network::Github => "GitHub",
        Network::Instagram => "Instagram",
        Network::Linkedin => "LinkedIn",
        Network::Mastodon => "Mastodon",
        Network::Pinterest => "Pinterest",
        Network::Telegram => "Telegram",
        Network::Threads => "Threads",
        Network::Tiktok => "TikTok",
        Network::Website => "Website",
        Network::Whatsapp => "WhatsApp",
        Network::X => "X",
        Network::Xing => "XING",
        Network::Youtube => "YouTube",
    }
}
