//! 200 messages as programs really build them, made from a number: the same number gives the same bytes.

/// A message and what must not change in it.
pub struct Sample {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Signed or encrypted entities, byte for byte.
    pub sealed: Vec<Vec<u8>>,
    /// A sealed entity holds bytes beyond ASCII.
    pub sealed_8bit: bool,
}

/// A small generator of numbers (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.roll(times) == 0
    }
}

/// An entity: its header lines and its body, joined by an empty line.
struct Entity {
    header: Vec<u8>,
    body: Vec<u8>,
}

impl Entity {
    fn bytes(&self) -> Vec<u8> {
        [&self.header[..], b"\r\n", &self.body].concat()
    }
}

struct Maker {
    dice: Dice,
    boundaries: usize,
    sealed: Vec<Vec<u8>>,
    sealed_8bit: bool,
}

/// Message number `seed`.
pub fn sample(seed: u64) -> Sample {
    let mut maker = Maker { dice: Dice(seed), boundaries: 0, sealed: Vec::new(), sealed_8bit: false };
    let (name, entity) = match seed % 10 {
        0 => ("text", maker.text()),
        1 => ("alternative", maker.alternative()),
        2 => ("related", maker.related()),
        3 => ("mixed", maker.mixed(0)),
        4 => ("signed by S/MIME", maker.signed("application/pkcs7-signature", "smime.p7s")),
        5 => ("signed by PGP", maker.signed("application/pgp-signature", "signature.asc")),
        6 => ("sealed", maker.opaque()),
        7 => ("invitation", maker.invitation()),
        8 => ("forwarded", maker.forwarded()),
        _ => ("mixed with a signed part", maker.mixed_signed()),
    };
    let bytes = maker.message(entity);
    Sample { name: format!("{seed}: {name}"), bytes, sealed: maker.sealed, sealed_8bit: maker.sealed_8bit }
}

const WORDS: &[&str] = &[
    "order",
    "Invoice 4711,",
    "thank you",
    "for your visit.",
    "Your code is 123456;",
    "see below:",
    "100% =3D",
    "--",
    ".",
];
const WORDS_8BIT: &[&str] = &["città", "Grüße", "zażółć gęślą jaźń", "日本語のメール", "naïve café", "emoji 🎉"];

impl Maker {
    fn boundary(&mut self) -> String {
        self.boundaries += 1;
        let n = self.boundaries;
        match self.dice.roll(7) {
            0 => format!("----=_NextPart_000_{n:04}_01DA.7F"),
            1 => format!("=_x'()+_,-./:=?{n}"),
            2 => format!("a b {n}"),
            3 => "x".repeat(n),
            4 => format!("{}{n}", "b".repeat(68 - n / 10)),
            5 => format!("Apple-Mail-{n}"),
            _ => format!("=_{n}_=="),
        }
    }

    fn words(&mut self, eight_bit: bool) -> String {
        let mut text = String::new();
        for _ in 0..3 + self.dice.roll(12) {
            let word =
                if eight_bit && self.dice.once_in(4) { self.dice.pick(WORDS_8BIT) } else { self.dice.pick(WORDS) };
            text.push_str(word);
            text.push_str(if self.dice.once_in(5) { "\r\n" } else { " " });
        }
        text.push_str(if self.dice.once_in(3) { "end \t\r\n" } else { "end\r\n" });
        if self.dice.once_in(6) {
            text.push_str(&format!("{}\r\n", "long ".repeat(250)));
        }
        if self.dice.once_in(8) {
            text.push_str("\r\n\r\n-- \r\n>From the desk\r\nFrom the desk\r\n..\r\n");
        }
        text
    }

    fn text(&mut self) -> Entity {
        let kind = self.dice.pick(&["text/plain", "text/html", "text/plain"]);
        self.leaf(kind)
    }

    fn leaf(&mut self, kind: &str) -> Entity {
        let markup = |text: String| {
            if kind == "text/html" { format!("<html><body><p>{text}</p></body></html>\r\n") } else { text }
        };
        match self.dice.roll(6) {
            0 => {
                let text = markup(self.words(false));
                entity(&format!("Content-Type: {kind}; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n"), text)
            }
            1 => {
                let text = markup(self.words(true));
                entity(
                    &format!("content-type: {kind};\r\n\tcharset=\"UTF-8\"\r\nContent-Transfer-Encoding: 8bit\r\n"),
                    text,
                )
            }
            2 => {
                let text = markup(self.words(true));
                entity(&format!("Content-Type: {kind}; charset=utf-8\r\n"), text)
            }
            3 => {
                let latin: Vec<u8> =
                    markup("caf\u{e9} gr\u{fc}n \u{e0} la carte\r\n".to_owned()).chars().map(|c| c as u8).collect();
                let header = format!(
                    "Content-Type: {kind}; charset=iso-8859-1; format=flowed\r\nContent-Transfer-Encoding: 8bit\r\n"
                );
                Entity { header: header.into_bytes(), body: latin }
            }
            4 => {
                let mut quoted = Vec::new();
                postrider_mail::qp::encode(markup(self.words(true)).as_bytes(), &mut quoted);
                let header =
                    format!("Content-Transfer-Encoding: quoted-printable\r\nContent-Type: {kind}; charset=utf-8\r\n");
                Entity { header: header.into_bytes(), body: quoted }
            }
            _ => {
                let mut coded = Vec::new();
                postrider_mail::base64_lines::encode(markup(self.words(true)).as_bytes(), &mut coded);
                let header =
                    format!("Content-Type: {kind}; charset=utf-8\r\nContent-Transfer-Encoding: BASE64 (comment)\r\n");
                Entity { header: header.into_bytes(), body: coded }
            }
        }
    }

    fn attachment(&mut self) -> Entity {
        let name = self.dice.pick(&[
            "filename=\"report.pdf\"",
            "filename*=UTF-8''%C3%A9t%C3%A9%202026.pdf",
            "filename*0*=UTF-8''una%20lunga%20relazione%20;\r\n filename*1*=citt%C3%A0.pdf",
            "filename=\"=?utf-8?Q?r=C3=A9sum=C3=A9.pdf?=\"",
            "filename=\"résumé final.pdf\"",
            "filename=plain.pdf; size=12",
        ]);
        let bytes: Vec<u8> = (0..50 + self.dice.roll(400)).map(|_| self.dice.roll(256) as u8).collect();
        if self.dice.once_in(4) {
            // 8-bit bytes without CR and LF, as some programs send small files.
            let body: Vec<u8> =
                bytes.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b'!' } else { *byte }).collect();
            let header = format!(
                "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; {name}\r\nContent-Transfer-Encoding: binary\r\n"
            );
            return Entity { header: header.into_bytes(), body };
        }
        let mut body = Vec::new();
        postrider_mail::base64_lines::encode(&bytes, &mut body);
        let header = format!(
            "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n {name}\r\n"
        );
        Entity { header: header.into_bytes(), body }
    }

    fn multipart(&mut self, subtype: &str, extra: &str, parts: &[Entity]) -> Entity {
        let boundary = self.boundary();
        let mut body = Vec::new();
        let in_signed = subtype == "signed";
        if !in_signed && self.dice.once_in(4) {
            let preamble =
                self.dice.pick(&["This is a multi-part message in MIME format.\r\n", "Pr\u{e9}ambule\r\n", "\r\n"]);
            body.extend_from_slice(preamble.as_bytes());
        }
        for part in parts {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            body.extend_from_slice(&part.bytes());
            body.extend_from_slice(b"\r\n");
        }
        let end = if self.dice.once_in(6) { "--" } else { "--\r\n" };
        body.extend_from_slice(format!("--{boundary}{end}").as_bytes());
        if end.ends_with('\n') && self.dice.once_in(8) && !in_signed {
            body.extend_from_slice(b"\r\nepilogue\r\n");
        }
        let encoding = if in_signed {
            ""
        } else {
            self.dice.pick(&["", "Content-Transfer-Encoding: 8bit\r\n", "Content-Transfer-Encoding: 7bit\r\n"])
        };
        let header = format!("Content-Type: multipart/{subtype};{extra}\r\n boundary=\"{boundary}\"\r\n{encoding}");
        Entity { header: header.into_bytes(), body }
    }

    fn alternative(&mut self) -> Entity {
        let parts = [self.leaf("text/plain"), self.leaf("text/html")];
        self.multipart("alternative", "", &parts)
    }

    fn related(&mut self) -> Entity {
        let mut image = Vec::new();
        postrider_mail::base64_lines::encode(&[0x89, b'P', b'N', b'G', 1, 2, 3, 0xff], &mut image);
        let header = b"Content-Type: image/png; name*=utf-8''logo%20%C3%A9.png\r\nContent-ID: <logo@x>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n";
        let parts = [self.alternative(), Entity { header: header.to_vec(), body: image }];
        self.multipart("related", " type=\"multipart/alternative\";", &parts)
    }

    fn mixed(&mut self, depth: usize) -> Entity {
        let first = if depth < 3 && self.dice.once_in(2) { self.mixed(depth + 1) } else { self.related() };
        let mut parts = vec![first];
        for _ in 0..1 + self.dice.roll(3) {
            parts.push(self.attachment());
        }
        self.multipart("mixed", "", &parts)
    }

    fn signed(&mut self, protocol: &str, file: &str) -> Entity {
        let eight_bit = self.dice.once_in(4);
        let body = if eight_bit { "signed città\r\nline 2 \r\n" } else { "signed text\r\n line 2 =20\r\n\r\n" };
        let text = entity(
            "Content-Type: text/plain; charset=utf-8\r\nX-Clab-Inner: stays\r\nBcc: stays@example.org\r\n",
            body.to_owned(),
        );
        let signed = if self.dice.once_in(2) {
            let inner = [
                text,
                entity("Content-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n", "second\r\n".to_owned()),
            ];
            self.multipart("mixed", "", &inner)
        } else {
            text
        };
        self.sealed.push(signed.bytes());
        self.sealed_8bit |= signed.bytes().iter().any(|byte| !byte.is_ascii());
        let signature = entity(
            &format!(
                "Content-Type: {protocol}; name={file}\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename={file}\r\n"
            ),
            "MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgkqhkiG9w0BBwEA\r\n".to_owned(),
        );
        self.multipart("signed", &format!(" protocol=\"{protocol}\"; micalg=sha-256;"), &[signed, signature])
    }

    fn opaque(&mut self) -> Entity {
        if self.dice.once_in(2) {
            let body = "MIAGCSqGSIb3DQEHA6CAMIACAQAxggFfMIIBWwIBADBDMC8xLTArBgNVBAMMJFBvc3Ry\r\n";
            self.sealed.push(body.as_bytes().to_vec());
            return entity(
                "Content-Type: application/pkcs7-mime; smime-type=enveloped-data;\r\n name=smime.p7m\r\nContent-Transfer-Encoding: base64\r\n",
                body.to_owned(),
            );
        }
        let control = entity("Content-Type: application/pgp-encrypted\r\n", "Version: 1\r\n".to_owned());
        let data = entity(
            "Content-Type: application/octet-stream\r\n",
            "-----BEGIN PGP MESSAGE-----\r\n\r\nhQEMA\r\n-----END PGP MESSAGE-----\r\n".to_owned(),
        );
        self.sealed.push(data.bytes());
        self.multipart("encrypted", " protocol=\"application/pgp-encrypted\";", &[control, data])
    }

    fn invitation(&mut self) -> Entity {
        let calendar = "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY:Riunione a Città di Castello\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        let parts = [
            self.leaf("text/plain"),
            entity(
                "Content-Type: text/calendar; method=REQUEST; charset=\"utf-8\"\r\nContent-Transfer-Encoding: 8bit\r\n",
                calendar.to_owned(),
            ),
        ];
        self.multipart("alternative", "", &parts)
    }

    fn forwarded(&mut self) -> Entity {
        let inner = self.alternative();
        let header = "From: Jörg <j@example.net>\r\nSubject: Grüße\r\nX-Clab-Old: inside\r\nMIME-Version: 1.0\r\n";
        let message = [header.as_bytes(), &inner.bytes()].concat();
        let parts = [
            self.leaf("text/plain"),
            Entity {
                header: b"Content-Type: message/rfc822\r\nContent-Disposition: attachment\r\n".to_vec(),
                body: message,
            },
        ];
        self.multipart("mixed", "", &parts)
    }

    fn mixed_signed(&mut self) -> Entity {
        let parts = [self.signed("application/pgp-signature", "signature.asc"), self.leaf("text/plain")];
        self.multipart("mixed", "", &parts)
    }

    fn message(&mut self, entity: Entity) -> Vec<u8> {
        let mut fields: Vec<Vec<u8>> = vec![
            b"From: \"Shop, Inc.\" <shop@example.org>\r\n".to_vec(),
            self.dice.pick(&["To: ann@example.net\r\n", "To: Ann <ann@example.net>,\r\n\t\"Bob B.\" <bob@example.net>\r\n", "To: Jörg <j@example.net>\r\n"]).into(),
            self.dice
                .pick(&[
                    "Subject: Your order\r\n",
                    "Subject: =?utf-8?Q?Citt=C3=A0_di?=\r\n =?utf-8?B?IENhc3RlbGxv?=\r\n",
                    "Subject: Grüße aus\r\n\tMünchen\r\n",
                    "Subject:\r\n folded at once\r\n",
                    "Subject: a  b   c \r\n",
                ])
                .into(),
            b"X-Mailer:  odd   blanks\t and tabs  \r\n".to_vec(),
            b"X-Postrider-Delivery-Type: 17\r\n".to_vec(),
            b"X-CLAB-SmartRelay-DeliveryLabel: Order\r\n confirmation\r\n".to_vec(),
            b"Bcc: hidden@example.net,\r\n\tother@example.net\r\n".to_vec(),
            b"Return-Path: <old@example.org>\r\n".to_vec(),
            b"Received: from app (app.example [192.0.2.1])\r\n by mail.example with ESMTP; Sun, 22 Nov 2026 08:00:00 +0000\r\n".to_vec(),
            b"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=x;\r\n\th=from:to; bh=AAAA; b=BBBB\r\n".to_vec(),
        ];
        if self.dice.once_in(2) {
            fields.push(b"Date: Sun, 22 Nov 2026 09:00:00 +0100\r\n".to_vec());
        }
        if self.dice.once_in(2) {
            fields.push(b"Message-ID: <order-1@example.org>\r\n".to_vec());
        }
        if self.dice.once_in(3) {
            fields.push(b"List-Unsubscribe: <https://example.org/u>\r\n".to_vec());
        }
        if self.dice.once_in(4) {
            fields.push("X-Note: naïve\r\n header\r\n".into());
        }
        for at in (1..fields.len()).rev() {
            fields.swap(at, self.dice.roll(at + 1));
        }
        if !self.dice.once_in(10) {
            fields.push(b"MIME-Version: 1.0\r\n".to_vec());
        }
        let mut bytes = fields.concat();
        bytes.extend_from_slice(&entity.bytes());
        if self.dice.once_in(5) && self.sealed.is_empty() {
            while bytes.ends_with(b"\r\n") {
                bytes.truncate(bytes.len() - 2);
            }
        }
        bytes
    }
}

fn entity(header: &str, body: String) -> Entity {
    Entity { header: header.as_bytes().to_vec(), body: body.into_bytes() }
}
