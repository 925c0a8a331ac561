//! The pages of the admin application as bytes in the binary. `build.rs` makes them; nothing else happens here, and
//! no crate of ours, no HTTP and no path of a request is known.

/// A file of the admin application.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Its content.
    pub bytes: &'static [u8],
    /// The same packed by gzip (RFC 1952), where that is clearly smaller.
    pub gzip: Option<&'static [u8]>,
    /// Its media type, such as `text/css; charset=utf-8`.
    pub mime: &'static str,
    /// A strong entity tag, quotes included (RFC 9110 8.8.3).
    pub etag: &'static str,
}

/// What this binary carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// The admin application.
    Application,
    /// One page which says that the application was left out when the binary was built.
    Notice,
}

/// The file at the path, without a slash at the beginning: `index.html`, `assets/index-1234.js`.
pub fn get(path: &str) -> Option<Asset> {
    let at = FILES.binary_search_by(|file| file.path.cmp(path)).ok()?;
    let File { mime, etag, bytes, gzip, .. } = FILES[at];
    Some(Asset { bytes, gzip, mime, etag })
}

/// The paths of all files.
pub fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|file| file.path)
}

/// What was built in.
pub fn content() -> Content {
    if env!("POSTRIDER_UI_KIND") == "notice" { Content::Notice } else { Content::Application }
}

#[derive(Clone, Copy)]
struct File {
    path: &'static str,
    mime: &'static str,
    etag: &'static str,
    bytes: &'static [u8],
    gzip: Option<&'static [u8]>,
}

// Sorted by path.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        std::str::from_utf8(get(path).unwrap_or_else(|| panic!("{path} is not embedded")).bytes).expect("UTF-8")
    }

    /// The values of an attribute that lead into this server.
    fn links<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
        html.split(attribute)
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .filter(|link| link.starts_with('/'))
            .collect()
    }

    #[test]
    fn the_first_page_and_all_that_it_loads_are_embedded() {
        let index = text("index.html");
        assert_eq!(get("index.html").expect("embedded").mime, "text/html; charset=utf-8");
        let scripts = links(index, "src=\"");
        match content() {
            Content::Application => {
                assert!(index.contains("id=\"app\""), "{index}");
                assert!(!scripts.is_empty(), "{index}");
                for link in scripts.into_iter().chain(links(index, "<link rel=\"stylesheet\" crossorigin href=\"")) {
                    assert!(!text(&link[1..]).is_empty(), "{link}");
                }
            }
            Content::Notice => assert!(scripts.is_empty(), "{index}"),
        }
    }

    /// The script and style that `name` needs before anything shows: itself and what it imports at once.
    fn at_once(name: &str, seen: &mut std::collections::BTreeSet<String>) {
        if !seen.insert(name.to_owned()) {
            return;
        }
        for rest in text(name).split("from\"./").skip(1).chain(text(name).split("import\"./").skip(1)) {
            if let Some(file) = rest.split('"').next() {
                at_once(&format!("assets/{file}"), seen);
            }
        }
    }

    #[test]
    fn the_first_screen_is_small() {
        if content() == Content::Notice {
            return;
        }
        let index = text("index.html");
        let mut seen = std::collections::BTreeSet::new();
        for link in links(index, "src=\"").into_iter().chain(links(index, "href=\"")) {
            if link.ends_with(".js") || link.ends_with(".css") {
                at_once(&link[1..], &mut seen);
            }
        }
        let size = |path: &str| get(path).map_or(0, |asset| asset.gzip.unwrap_or(asset.bytes).len());
        let all: usize = size("index.html") + seen.iter().map(|path| size(path)).sum::<usize>();
        assert!(seen.len() >= 2 && all > 5_000, "{seen:?}: {all} bytes");
        assert!(all < 60_000, "{seen:?}: {all} bytes");
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_loaded_from_elsewhere() {
        let index = text("index.html");
        for script in index.split("<script").skip(1) {
            let tag = script.split('>').next().unwrap_or_default();
            assert!(tag.contains("src=\"/"), "the content security policy refuses inline scripts: {tag}");
        }
        assert!(!index.contains("<style") && !index.contains(" style=") && !index.contains(" onload="), "{index}");
        assert!(!index.contains("//"), "only files of this server: {index}");
    }

    #[test]
    fn every_path_is_found_and_no_other() {
        assert!(paths().is_sorted());
        for path in paths() {
            let asset = get(path).unwrap_or_else(|| panic!("{path} is not found"));
            assert!(asset.etag.len() > 2 && asset.etag.starts_with('"') && asset.etag.ends_with('"'), "{path}");
            assert_ne!(asset.mime, "application/octet-stream", "{path}");
        }
        for path in ["", "/", "/index.html", "../index.html", "index.htm", "assets", "assets/"] {
            assert!(get(path).is_none(), "{path:?}");
        }
    }
}
