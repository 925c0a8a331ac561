//! The records that a page tells people to publish, compared one by one with those that are there.

use postrider_mail::mailbox::DomainName;
use postrider_smtp::{MxAnswer, MxHost};
use serde_json::{Value, json};

use super::look::Look;

/// Each wanted record with what was found and whether it serves.
pub(super) async fn compare(look: &Look<'_>, wanted: &[Value]) -> Vec<Value> {
    futures_util::future::join_all(wanted.iter().take(50).map(|wanted| one(look, wanted))).await
}

async fn one(look: &Look<'_>, wanted: &Value) -> Value {
    let text = |key: &str| wanted[key].as_str().unwrap_or_default().to_owned();
    let (kind, name, value) = (text("type"), text("name"), text("value"));
    let required = wanted["required"].as_bool().unwrap_or(true);
    let (found, good, problem) = match kind.as_str() {
        "TXT" => txt(look, &name, &value).await,
        "MX" => mx(look, &name, &value).await,
        other => (Vec::new(), false, Some(format!("records of type {other} are not checked"))),
    };
    json!({
        "type": kind, "name": name, "value": value, "required": required, "ok": good, "found": found, "problem": problem,
    })
}

type Compared = (Vec<String>, bool, Option<String>);

async fn txt(look: &Look<'_>, name: &str, wanted: &str) -> Compared {
    let found = match look.txt(name).await {
        Ok(found) if found.is_empty() => {
            return (found, false, Some("there is no TXT record of this name".into()));
        }
        Ok(found) => found,
        Err(silent) => return (Vec::new(), false, Some(format!("DNS gave no answer: {}", silent.0))),
    };
    let good = found.iter().any(|txt| serves(txt, wanted));
    let problem = (!good).then(|| "no TXT record of this name says what it should".to_owned());
    (found.into_iter().take(10).collect(), good, problem)
}

/// Whether a TXT record does what the wanted one is for: the same DKIM key, any SPF policy, any DMARC policy.
fn serves(found: &str, wanted: &str) -> bool {
    let squeeze = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let (found, wanted) = (squeeze(found), squeeze(wanted));
    let tag = |text: &str, name: &str| {
        text.split(';').find_map(|t| t.split_once('=').filter(|(n, _)| *n == name).map(|(_, value)| value.to_owned()))
    };
    let starts = |text: &str, start: &str| text.get(..start.len()).is_some_and(|t| t.eq_ignore_ascii_case(start));
    if starts(&wanted, "v=DKIM1") {
        let key = tag(&wanted, "p");
        return key.is_some() && tag(&found, "p") == key;
    }
    for policy in ["v=spf1", "v=DMARC1"] {
        if starts(&wanted, policy) {
            return starts(&found, policy);
        }
    }
    found == wanted
}

async fn mx(look: &Look<'_>, name: &str, wanted: &str) -> Compared {
    let host = wanted.split_whitespace().last().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let Ok(domain) = DomainName::parse(name) else {
        return (Vec::new(), false, Some("the name is not usable".into()));
    };
    match look.mx(&domain).await {
        Ok(Some(MxAnswer::Hosts(hosts))) => {
            let good = hosts.iter().any(|h| h.name == host);
            let found = hosts.iter().map(|h: &MxHost| format!("{} {}", h.preference, h.name)).collect();
            (found, good, (!good).then(|| format!("no MX record names {host}")))
        }
        Ok(Some(MxAnswer::NullMx)) => (vec!["0 .".into()], false, Some("the name says that it takes no mail".into())),
        Ok(None) => (Vec::new(), false, Some("there is no MX record of this name".into())),
        Err(silent) => (Vec::new(), false, Some(format!("DNS gave no answer: {}", silent.0))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dkim_record_is_compared_by_its_key_and_policies_by_their_kind() {
        let ours = "v=DKIM1; k=rsa; p=MIIBabc";
        for (found, good) in [
            ("v=DKIM1; k=rsa; p=MIIBabc", true),
            ("v=DKIM1;p=MIIB abc", true),
            ("k=rsa; p=MIIBabc; t=s", true),
            ("v=DKIM1; p=MIIBabd", false),
            ("v=DKIM1; p=", false),
        ] {
            assert_eq!(serves(found, ours), good, "{found}");
        }
        assert!(serves("v=spf1 include:_spf.example.net -all", "v=spf1 mx ~all"));
        assert!(!serves("verification=1", "v=spf1 mx ~all"));
        assert!(serves("v=DMARC1; p=reject", "v=DMARC1; p=none"));
    }
}
