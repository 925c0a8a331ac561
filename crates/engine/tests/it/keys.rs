//! DKIM keys that follow each other, and REQUIRETLS of single messages.

use std::time::Duration;

use postrider_domain::signing_key::KeyState;
use postrider_domain::stream::TlsWish;
use postrider_mail::dkim::SigningKey;
use postrider_store::domain::{NewDkimKey, SendingDomain};
use postrider_store::secret::SecretBytes;

use crate::limits::{single, single_wishing};
use crate::on_both;
use crate::rig::{CONSOLE, Rig};

on_both!(a_new_key_signs_when_dns_has_it_and_retries_keep_the_old_one, a_message_asks_for_tls_or_for_none_of_it,);

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

fn key(selector: &str) -> (NewDkimKey, String) {
    let key = SigningKey::generate_rsa2048().expect("a key");
    let text = key.public_txt();
    let private = SecretBytes::new(key.to_pkcs8().expect("DER"));
    (NewDkimKey { selector: selector.into(), algorithm: "rsa2048".into(), private, public_txt: text.clone() }, text)
}

async fn domain(rig: &Rig) -> SendingDomain {
    rig.store.domains(rig.workspace).await.expect("domains").remove(0)
}

async fn states(rig: &Rig) -> Vec<(String, KeyState)> {
    let now = rig.store.now();
    let mut states: Vec<_> =
        domain(rig).await.keys.into_iter().map(|key| (key.selector.clone(), key.state(now))).collect();
    states.sort();
    states
}

fn is(selectors: &[(&str, KeyState)]) -> Vec<(String, KeyState)> {
    selectors.iter().map(|(name, state)| ((*name).to_owned(), *state)).collect()
}

/// Lets some looks at DNS happen: they go by the clock of the test.
async fn look(rig: &Rig, times: i64) {
    for _ in 0..times {
        rig.store.clock.advance(5 * 60_000 + 1_000);
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
}

/// The selectors with which messages to somebody were signed, in the order in which they came.
fn selectors(rig: &Rig, mailbox: &str) -> Vec<String> {
    let kept = rig.world.kept();
    let selector = |body: &[u8]| {
        let text = String::from_utf8_lossy(body).replace("\r\n", "");
        text.split("s=").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default().trim().to_owned()
    };
    kept.iter()
        .filter(|kept| kept.recipients.iter().any(|to| to == mailbox))
        .map(|kept| selector(&kept.bytes))
        .collect()
}

async fn a_new_key_signs_when_dns_has_it_and_retries_keep_the_old_one(rig: Rig) {
    let (new, text) = key("s2");
    let id = domain(&rig).await.id;
    rig.store.announce_dkim_key(rig.workspace, &CONSOLE, id, new).await.expect("announced");
    let again = rig.store.announce_dkim_key(rig.workspace, &CONSOLE, id, key("s3").0).await;
    assert!(again.is_err(), "one key waits at a time");
    let engine = rig.engine().await;
    // Deferred at its first try, which the key of today signs.
    let late = single(&rig, &engine, "late@greylist.test").await;
    rig.until("its first try", async || !rig.attempts(late).await.is_empty()).await;
    look(&rig, 3).await;
    assert_eq!(
        states(&rig).await,
        is(&[("s1", KeyState::Active), ("s2", KeyState::Pending)]),
        "no record, no signature"
    );

    rig.world.publish_txt("s2._domainkey.news.example.org", &text);
    // A resolver remembers for a while that there was nothing.
    rig.until("the record is seen", async || {
        look(&rig, 1).await;
        domain(&rig).await.keys.iter().any(|key| key.selector == "s2" && key.seen_at.is_some())
    })
    .await;
    assert_eq!(states(&rig).await[1].1, KeyState::Pending, "all name servers need to have it");
    single(&rig, &engine, "before@mail1.test").await;
    rig.until("a message of before", async || selectors(&rig, "before@mail1.test").len() == 1).await;
    rig.store.clock.advance(HOUR);
    rig.until("the new key signs", async || {
        look(&rig, 1).await;
        states(&rig).await == is(&[("s1", KeyState::Retired), ("s2", KeyState::Active)])
    })
    .await;
    single(&rig, &engine, "after@mail1.test").await;
    rig.until("a message of after", async || selectors(&rig, "after@mail1.test").len() == 1).await;
    rig.until("the late one", async || {
        look(&rig, 1).await;
        selectors(&rig, "late@greylist.test").len() == 1
    })
    .await;
    assert_eq!(selectors(&rig, "before@mail1.test"), ["s1"]);
    assert_eq!(selectors(&rig, "after@mail1.test"), ["s2"]);
    assert_eq!(selectors(&rig, "late@greylist.test"), ["s1"], "a retry is signed by the key of the first try");

    rig.store.clock.advance(38 * DAY);
    assert_eq!(states(&rig).await, is(&[("s1", KeyState::Revocable), ("s2", KeyState::Active)]));
    rig.world.publish_txt("s1._domainkey.news.example.org", "v=DKIM1; p=");
    rig.until("it is seen to be taken back", async || {
        look(&rig, 1).await;
        states(&rig).await == is(&[("s1", KeyState::Revoked), ("s2", KeyState::Active)])
    })
    .await;
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn a_message_asks_for_tls_or_for_none_of_it(rig: Rig) {
    let demand = postrider_domain::route::TlsDemand::Verified;
    rig.store.set_tls_rule(rig.workspace, &CONSOLE, "mail3.test", demand, "test").await.expect("a rule");
    let engine = rig.engine().await;
    let outcome = async |id, what: &str| {
        // The clock goes on: a connection after another one has its time.
        rig.until(what, async || {
            rig.store.clock.advance(1_000);
            !rig.attempts(id).await.is_empty()
        })
        .await;
        rig.attempts(id).await.pop().expect("an attempt")
    };
    // The host offers no TLS, and the message asks for it.
    let refused = outcome(
        single_wishing(&rig, &engine, "a@mail1.test", Some(TlsWish::Require)).await,
        "the one that asks for TLS",
    )
    .await;
    assert_eq!((refused.code, refused.enhanced.as_deref()), (Some(550), Some("5.7.30")), "{}", refused.text);
    assert!(rig.world.seen("a@mail1.test").is_empty(), "nothing on the wire");
    // The next message to the same domain has no such wish.
    let sent = outcome(single(&rig, &engine, "b@mail1.test").await, "the one that does not").await;
    assert_eq!(sent.code, Some(250), "{}", sent.text);
    // What its sender does not ask for does not set a rule of the operator aside.
    let held =
        outcome(single_wishing(&rig, &engine, "c@mail3.test", Some(TlsWish::Optional)).await, "the one beside a rule")
            .await;
    assert_eq!(held.enhanced.as_deref(), Some("4.7.4"), "{}", held.text);
    engine.shutdown(Duration::from_secs(10)).await;
}
