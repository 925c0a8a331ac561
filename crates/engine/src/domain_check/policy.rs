//! The DMARC policy that counts for a domain, and whether the return-path is aligned with it: RFC 9989 4.10, the tree walk.

use postrider_mail::dns_record::dmarc::{Alignment, DmarcRecord, PublicSuffix};
use postrider_mail::mailbox::DomainName;

use super::look::{Look, Silent};
use super::{Finding, FindingCode};

/// RFC 9989 4.10: no walk asks more often.
const MOST_QUERIES: usize = 8;

/// What is published at one name.
enum At {
    Nothing,
    One(Box<DmarcRecord>, String),
    Unreadable(String),
    Several(Vec<String>),
}

/// A walk from a name up: what it met, and where the organisation begins.
struct Walked {
    /// The first name with something meant as a policy.
    first: Option<(String, At)>,
    organisation: String,
}

/// Policy and alignment of a From domain.
pub(super) async fn check(look: &Look<'_>, from: &DomainName, return_path: &DomainName) -> Vec<Finding> {
    let walked = match walk(look, from.as_str()).await {
        Ok(walked) => walked,
        Err((name, silent)) => return vec![silent.finding(&name)],
    };
    let Some((name, at)) = walked.first else {
        let about = format!("_dmarc.{from}");
        return vec![Finding::new(FindingCode::DmarcMissing, about, "no DMARC record, nor at a name above")];
    };
    let about = format!("_dmarc.{name}");
    let mut findings = Vec::new();
    let record = match at {
        At::Several(records) => {
            return vec![Finding::new(FindingCode::DmarcTwice, about, records.join(" and "))];
        }
        At::Unreadable(found) => return vec![Finding::new(FindingCode::DmarcSyntax, about, found)],
        At::Nothing => return Vec::new(), // never the first thing that was met
        At::One(record, text) => {
            if record.policy.is_none() {
                findings.push(Finding::new(FindingCode::DmarcNoPolicy, about.clone(), text.clone()));
            }
            if record.reports_to.is_empty() {
                findings.push(Finding::new(FindingCode::DmarcNoReports, about.clone(), text.clone()));
            }
            if !record.removed.is_empty() {
                let tags = record.removed.join(", ");
                findings.push(Finding::new(FindingCode::DmarcRemovedTags, about, format!("{tags} in {text}")));
            }
            record
        }
    };
    let aligned = match record.spf {
        Alignment::Strict => return_path == from,
        Alignment::Relaxed => match walk(look, return_path.as_str()).await {
            Ok(theirs) => theirs.organisation == walked.organisation,
            Err((name, silent)) => {
                findings.push(silent.finding(&name));
                true // not known is no fault
            }
        },
    };
    if !aligned {
        let found = match record.spf {
            Alignment::Strict => format!("aspf=s, and the return-path host is not {from} itself"),
            Alignment::Relaxed => format!("it does not belong to {}", walked.organisation),
        };
        findings.push(Finding::new(FindingCode::ReturnPathUnaligned, return_path.as_str(), found));
    }
    findings
}

/// The names that the walk from `name` asks: itself, then its parents, beginning at seven labels (RFC 9989 4.10).
fn steps(name: &str) -> Vec<&str> {
    let labels = name.split('.').count();
    let mut names = vec![name];
    let mut rest = name;
    let mut left = labels;
    while let Some((_, parent)) = rest.split_once('.') {
        left -= 1;
        rest = parent;
        // From eight labels or more the walk goes on at seven.
        if labels > MOST_QUERIES && left >= MOST_QUERIES {
            continue;
        }
        names.push(parent);
    }
    names.truncate(MOST_QUERIES);
    names
}

async fn walk(look: &Look<'_>, from: &str) -> Result<Walked, (String, Silent)> {
    let mut first = None;
    // The valid record with the fewest labels marks the organisation; without any it is the name itself.
    let mut organisation = from.to_owned();
    let mut below: Option<&str> = None;
    for name in steps(from) {
        let at = at(look, name).await.map_err(|silent| (format!("_dmarc.{name}"), silent))?;
        let suffix = if let At::One(record, _) = &at {
            let suffix = record.public_suffix;
            organisation = match suffix {
                // The organisation is one label below a public suffix, unless the walk began there.
                PublicSuffix::Yes => below.unwrap_or(name).to_owned(),
                PublicSuffix::No | PublicSuffix::Unknown => name.to_owned(),
            };
            suffix
        } else {
            PublicSuffix::Unknown
        };
        if first.is_none() && !matches!(at, At::Nothing) {
            first = Some((name.to_owned(), at));
        }
        match suffix {
            PublicSuffix::No => break,
            PublicSuffix::Yes if below.is_some() => break,
            PublicSuffix::Yes | PublicSuffix::Unknown => {}
        }
        below = Some(name);
    }
    Ok(Walked { first, organisation })
}

async fn at(look: &Look<'_>, name: &str) -> Result<At, Silent> {
    let mut records: Vec<String> =
        look.txt(&format!("_dmarc.{name}")).await?.into_iter().filter(|txt| DmarcRecord::is_one(txt)).collect();
    Ok(match records.len() {
        0 => At::Nothing,
        1 => {
            let text = records.remove(0);
            match DmarcRecord::parse(&text) {
                Ok(record) => At::One(Box::new(record), text),
                Err(error) => At::Unreadable(format!("{error} in {text}")),
            }
        }
        _ => At::Several(records),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_asks_at_most_eight_names() {
        assert_eq!(steps("news.example.org"), ["news.example.org", "example.org", "org"]);
        // RFC 9989's example: ten labels, then seven down to one.
        let long = "a.b.c.d.e.f.g.h.example.org";
        let asked = steps(long);
        assert_eq!(asked.len(), 8);
        assert_eq!((asked[0], asked[1], asked[7]), (long, "d.e.f.g.h.example.org", "org"));
        let eight = "a.b.c.d.e.f.example.org";
        assert_eq!((steps(eight).len(), steps(eight)[1]), (8, "b.c.d.e.f.example.org"));
    }
}
