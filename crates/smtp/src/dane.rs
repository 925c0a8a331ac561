//! DANE for SMTP (RFC 7672): TLSA records, and whether a host's certificate is one that they name.
//!
//! Knows certificates and records. Does not know how records are looked up (see `dnssec`), nor what follows from a
//! certificate that does not match (see `ladder`).

use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256, SHA512};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// More certificates of one chain than this are not looked at: a hostile host may send thousands.
const MOST_CERTIFICATES: usize = 16;

/// One TLSA record (RFC 6698 2.1), its numbers as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tlsa {
    /// Certificate usage: 2 is DANE-TA, 3 is DANE-EE.
    pub usage: u8,
    /// What is compared: 0 the certificate, 1 its public key.
    pub selector: u8,
    /// How: 0 whole, 1 by SHA-256, 2 by SHA-512.
    pub matching: u8,
    /// The bytes to compare with.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Whether a mail client can use the record: usages 0 and 1 need roots that mail has no agreement about, so they
    /// count as unusable (RFC 7672 3.1.3), and so does what is unknown or has the wrong length.
    pub fn usable(&self) -> bool {
        let fits = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == SHA256.output_len(),
            2 => self.data.len() == SHA512.output_len(),
            _ => false,
        };
        matches!(self.usage, 2 | 3) && self.selector <= 1 && fits
    }

    /// Whether the record names this certificate.
    pub fn names(&self, certificate: &[u8]) -> bool {
        let selected = match self.selector {
            0 => certificate,
            1 => match public_key(certificate) {
                Some(key) => key,
                None => return false,
            },
            _ => return false,
        };
        match self.matching {
            0 => selected == self.data,
            1 => digest::digest(&SHA256, selected).as_ref() == self.data,
            2 => digest::digest(&SHA512, selected).as_ref() == self.data,
            _ => false,
        }
    }
}

/// The TLSA records of one host, all of them validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaneRecords {
    /// The TLSA base domain (RFC 7672 2.2.3): the name that SNI carries and that a DANE-TA certificate must have.
    pub base: String,
    /// The records, usable or not; never empty.
    pub records: Vec<Tlsa>,
}

impl DaneRecords {
    /// Whether any record can be used.
    pub fn usable(&self) -> bool {
        self.records.iter().any(Tlsa::usable)
    }
}

/// What is known about DANE of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dane {
    /// Nobody was asked: there is no resolver whose word can be trusted.
    NotAsked,
    /// The domain's MX records or the host's addresses are not signed, so TLSA records prove nothing.
    Insecure,
    /// Everything is signed, and there is no TLSA record.
    NoRecords,
    /// Signed records.
    Records(Arc<DaneRecords>),
    /// The look-up failed: SERVFAIL, no answer, or signatures that do not verify. Nothing may be concluded.
    Failed(String),
}

/// Judges a host's certificate by TLSA records, and the proof that the host has its key.
#[derive(Debug)]
pub(crate) struct DaneVerifier {
    pub(crate) records: Arc<DaneRecords>,
    /// Names that a DANE-TA certificate may carry beside the base domain: the recipient's domain (RFC 7672 3.2.2).
    pub(crate) also: Option<ServerName<'static>>,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl DaneVerifier {
    /// DANE-TA: a chain up to a certificate that a record names, for one of the names, within its time.
    fn by_anchor(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        for record in self.records.records.iter().filter(|record| record.usable() && record.usage == 2) {
            for certificate in intermediates.iter().take(MOST_CERTIFICATES) {
                if record.names(certificate) {
                    // One that the library cannot read is no anchor; another may be.
                    let _ = roots.add(certificate.clone().into_owned());
                }
            }
            if record.selector == 0 && record.matching == 0 {
                let _ = roots.add(CertificateDer::from(record.data.clone()));
            }
        }
        if roots.is_empty() {
            return Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let intermediates = &intermediates[..intermediates.len().min(MOST_CERTIFICATES)];
        let check = |name| verifier.verify_server_cert(leaf, intermediates, name, &[], now).map(drop);
        // The fault of the base domain's name is the one to tell.
        check(name).or_else(|fault| match &self.also {
            Some(also) => check(also).map_err(|_| fault),
            None => Err(fault),
        })
    }
}

impl ServerCertVerifier for DaneVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // RFC 7672 3.1.1: with DANE-EE neither names nor dates of the certificate count.
        let named = self.records.records.iter().any(|r| r.usage == 3 && r.usable() && r.names(end_entity));
        if !named {
            self.by_anchor(end_entity, intermediates, server_name, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The SubjectPublicKeyInfo of a certificate (RFC 5280 4.1), found by walking over the fields before it: more
/// certificates can be walked over than a library wants to verify, and a record names any.
fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    let (certificate, _) = element(certificate, Some(SEQUENCE))?;
    let (mut rest, _) = element(certificate.body, Some(SEQUENCE)).map(|(tbs, rest)| (tbs.body, rest))?;
    if rest.first() == Some(&0xa0) {
        rest = element(rest, None)?.1; // the version, when it is told
    }
    for _ in ["serial number", "signature", "issuer", "validity", "subject"] {
        rest = element(rest, None)?.1;
    }
    Some(element(rest, Some(SEQUENCE))?.0.whole)
}

struct Element<'a> {
    whole: &'a [u8],
    body: &'a [u8],
}

/// One DER element and what follows it.
fn element(bytes: &[u8], tag: Option<u8>) -> Option<(Element<'_>, &[u8])> {
    let (&first, &short) = (bytes.first()?, bytes.get(1)?);
    if tag.is_some_and(|tag| tag != first) {
        return None;
    }
    let (head, length) = if short < 0x80 {
        (2, usize::from(short))
    } else {
        let digits = usize::from(short & 0x7f);
        if !(1..=4).contains(&digits) {
            return None;
        }
        let length = bytes.get(2..2 + digits)?.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        (2 + digits, length)
    };
    let end = head.checked_add(length)?;
    Some((Element { whole: bytes.get(..end)?, body: bytes.get(head..end)? }, bytes.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made() -> (Vec<u8>, Vec<u8>) {
        use rcgen::PublicKeyData;
        let made = rcgen::generate_simple_self_signed(vec!["mx.example".to_owned()]).expect("a certificate");
        (made.cert.der().to_vec(), made.signing_key.subject_public_key_info())
    }

    #[test]
    fn a_record_names_a_certificate_or_its_key() {
        let (certificate, key) = made();
        let (other, _) = made();
        for (selector, selected) in [(0, &certificate), (1, &key)] {
            for (matching, data) in [
                (0, selected.clone()),
                (1, digest::digest(&SHA256, selected).as_ref().to_vec()),
                (2, digest::digest(&SHA512, selected).as_ref().to_vec()),
            ] {
                let record = Tlsa { usage: 3, selector, matching, data };
                assert!(record.usable() && record.names(&certificate), "{selector} {matching}");
                assert!(!record.names(&other), "{selector} {matching}");
            }
        }
    }

    #[test]
    fn records_that_mail_cannot_use_are_left_aside() {
        let good = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![0; 32] };
        assert!(good.usable());
        for (what, record) in [
            ("PKIX-TA", Tlsa { usage: 0, ..good.clone() }),
            ("PKIX-EE", Tlsa { usage: 1, ..good.clone() }),
            ("unknown usage", Tlsa { usage: 4, ..good.clone() }),
            ("unknown selector", Tlsa { selector: 2, ..good.clone() }),
            ("unknown matching", Tlsa { matching: 3, ..good.clone() }),
            ("short digest", Tlsa { data: vec![0; 31], ..good.clone() }),
            ("long digest", Tlsa { matching: 2, ..good.clone() }),
            ("empty", Tlsa { matching: 0, data: vec![], ..good.clone() }),
        ] {
            assert!(!record.usable(), "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_walk_fall(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..600) {
            let _ = public_key(&bytes);
            let (certificate, _) = made();
            let _ = public_key(&certificate[..cut.min(certificate.len())]);
        }
    }
}
