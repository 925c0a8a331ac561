//! Erasure: a mailbox planted in every table that can hold it is found nowhere afterwards (LAW-31, LAW-32).

use postrider_domain::consent::ConsentState;
use postrider_domain::id::{AttemptId, ContactId, DeliveryId, WorkspaceId};
use postrider_domain::import::RefusedReason;
use postrider_domain::suppression::SuppressionReason;
use serde_json::json;

use crate::actor::Actor;
use crate::book_rig::{BY, Place, consent, contact, grant, mailbox, place, row, running_import};
use crate::db::Lane;
use crate::idempotency::{Once, OnceRequest};
use crate::import::{ImportEnd, RefusedRow};
use crate::import_slice::SliceProgress;
use crate::opt_out::{OptOut, OptOutRoad, OutOf};
use crate::sql::{args, sql};
use crate::suppression::{NewSuppression, Whom};
use crate::testing::{TestStore, open_both};
use crate::{Store, StoreError};

const WHO: &str = "gertrude.findme@example.org";

/// Every table and column whose text, JSON or bytes hold `needle`.
async fn search(store: &TestStore, needle: &str) -> Vec<String> {
    use sqlx::{Connection, Row};
    let mut found = Vec::new();
    if store.is_sqlite() {
        let path = store.data().join("postrider.db");
        let mut c = sqlx::SqliteConnection::connect(path.to_str().unwrap()).await.unwrap();
        let columns = sqlx::query(
            "SELECT m.name AS t, p.name AS c, p.type AS k FROM sqlite_schema m JOIN pragma_table_info(m.name) p \
             WHERE m.type = 'table' AND p.type IN ('TEXT', 'BLOB')",
        )
        .fetch_all(&mut c)
        .await
        .unwrap();
        assert!(columns.len() > 100, "only {} columns searched", columns.len());
        for column in columns {
            let (t, n): (String, String) = (column.get("t"), column.get("c"));
            let query = format!("SELECT count(*) FROM \"{t}\" WHERE instr(lower(CAST(\"{n}\" AS TEXT)), $1) > 0");
            let hits: i64 =
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(needle).fetch_one(&mut c).await.unwrap();
            if hits > 0 {
                found.push(format!("{t}.{n}"));
            }
        }
    } else {
        let mut c = sqlx::PgConnection::connect(&store.url()).await.unwrap();
        let columns = sqlx::query(
            "SELECT table_name::text AS t, column_name::text AS c, data_type::text AS k FROM information_schema.columns \
             WHERE table_schema = 'public' AND data_type IN ('text', 'jsonb', 'bytea')",
        )
        .fetch_all(&mut c)
        .await
        .unwrap();
        assert!(columns.len() > 100, "only {} columns searched", columns.len());
        for column in columns {
            let (t, n, k): (String, String, String) = (column.get("t"), column.get("c"), column.get("k"));
            let text = if k == "bytea" { format!("encode(\"{n}\", 'escape')") } else { format!("\"{n}\"::text") };
            let query = format!("SELECT count(*) FROM \"{t}\" WHERE strpos(lower({text}), $1) > 0");
            let hits: i64 =
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(needle).fetch_one(&mut c).await.unwrap();
            if hits > 0 {
                found.push(format!("{t}.{n}"));
            }
        }
    }
    found
}

/// A settled delivery of a contact, or of nobody, with an attempt whose reply names the mailbox.
async fn delivery(
    store: &Store,
    workspace: WorkspaceId,
    contact: Option<ContactId>,
    message: Option<i64>,
) -> DeliveryId {
    let (id, attempt) = (DeliveryId(store.next_id()), AttemptId(store.next_id()));
    let said = format!("550 5.1.1 <{WHO}> unknown");
    let mut tx = store.begin(Lane::Web).await.unwrap();
    tx.execute(
        sql!(
            "INSERT INTO delivery (id, workspace_id, campaign_id, message_id, contact_id, mailbox, mailbox_norm, domain, digest, \
             stream, vars, tracking, attempts, max_attempts, outcome, last_result, last_text) \
             VALUES ($1, $2, $3, $4, $5, $6, $6, 'example.org', $7, 'marketing', {jsonb $8}, 'none', 1, 3, 'rejected', \
             'rejected', $9)"
        ),
        args![
            id,
            workspace,
            contact.map(|_| 5i64),
            message,
            contact,
            WHO,
            store.digest(WHO),
            json!({ "mail": WHO }),
            said.as_str()
        ],
    )
    .await
    .unwrap();
    tx.execute(
        sql!(
            "INSERT INTO attempt (id, delivery_id, workspace_id, n, at, duration_ms, stage, result, text, host, ip, source, tls, \
             node) VALUES ($1, $2, $3, 1, 1, 1, 'rcpt', 'rejected', $4, 'mx', '192.0.2.1', 'main', '', 1)"
        ),
        args![attempt, id, workspace, said],
    )
    .await
    .unwrap();
    if let Some(message) = message {
        tx.execute(
            sql!(
                "INSERT INTO message (id, workspace_id, stream, from_mailbox, subject, created_at) \
                 VALUES ($1, $2, 'transactional', 'shop@example.com', $3, 1)"
            ),
            args![message, workspace, format!("for {WHO}")],
        )
        .await
        .unwrap();
        tx.execute(
            sql!("INSERT INTO body (message_id, bytes) VALUES ($1, $2)"),
            args![message, format!("To: {WHO}\r\n\r\nhello").into_bytes()],
        )
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    id
}

/// Puts the mailbox wherever the program itself would put it.
async fn plant(store: &TestStore, home: Place) -> ContactId {
    let who = contact(store, home, WHO).await;
    grant(store, home, who).await;
    let mut noted = consent(store, home, who, ConsentState::Granted);
    noted.evidence.note = Some(format!("wrote from {WHO}"));
    store.record_consent(home.workspace, &BY, noted).await.unwrap();
    let out = OptOut {
        contact: who,
        out_of: OutOf::Everything,
        delivery: None,
        road: OptOutRoad::Mailto,
        ip: Some("192.0.2.7".into()),
        agent: None,
    };
    store.opt_out(home.workspace, &Actor::Person, out).await.unwrap();
    let dead = NewSuppression {
        whom: Whom::Mailbox(mailbox(WHO)),
        reason: SuppressionReason::NoSuchMailbox,
        scope: None,
        source: format!("desk, about {WHO}"),
        until: None,
        delivery: None,
    };
    store.suppress(home.workspace, &BY, dead).await.unwrap();
    delivery(store, home.workspace, Some(who), None).await;
    delivery(store, home.workspace, None, Some(77)).await;
    let import = running_import(store, home).await;
    let refused = RefusedRow {
        row: 2,
        reason: RefusedReason::CellCount,
        detail: format!("{WHO}, 3 cells"),
        raw: "x;Gertrude.FindMe@example.org;y".into(),
    };
    let progress = SliceProgress { from: 0, to: 2 };
    store.upsert_rows(&import, &[row(1, WHO, WHO)], &[refused], progress).await.unwrap();
    store.finish_import(&import, ImportEnd::Done).await.unwrap();
    let request = OnceRequest { key: "k1".into(), method: "POST".into(), path: "/contacts".into(), hash: vec![1] };
    assert_eq!(store.begin_once(home.workspace, &request).await.unwrap(), Once::Fresh);
    store.finish_once(home.workspace, "k1", 201, format!("{{\"mailbox\":\"{WHO}\"}}").as_bytes()).await.unwrap();
    let asked = store.ask(Some(home.workspace), "test_send", &json!({ "to": WHO }), 1_000).await.unwrap();
    store.answer(asked, &json!({ "said": WHO })).await.unwrap();
    who
}

#[tokio::test]
async fn after_erasure_a_search_finds_the_mailbox_nowhere() {
    for store in open_both("erase").await {
        let home = place(&store, "Home").await;
        let other = place(&store, "Other").await;
        let who = plant(&store, home).await;
        let before = search(&store, "gertrude.findme").await;
        for place in [
            "contact.mailbox",
            "delivery.mailbox",
            "attempt.text",
            "ledger.payload",
            "suppression.mailbox_norm",
            "body.bytes",
            "import_refused.raw",
            "inquiry.args",
        ] {
            assert!(before.iter().any(|b| b == place), "{place} was not planted: {before:?}");
        }
        assert!(!before.iter().any(|b| b == "idempotency.body"), "stored answers are sealed");
        assert!(matches!(store.erase_contact(other.workspace, &BY, who).await, Err(StoreError::NotFound { .. })));

        let erasure = store.erase_contact(home.workspace, &BY, who).await.unwrap();
        assert_eq!((erasure.deliveries, erasure.attempts, erasure.messages, erasure.memberships), (2, 2, 1, 1));
        assert_eq!(search(&store, "gertrude").await, Vec::<String>::new(), "{}", store.kind);

        let report = store.verify_ledger(home.workspace).await.unwrap();
        assert!(report.is_whole(), "{report:?}");
        assert_eq!(report.erased, i64::try_from(erasure.ledger_entries).unwrap());
        assert!(store.contact(home.workspace, who).await.is_err());
        assert!(store.contact_by_mailbox(home.workspace, &mailbox(WHO)).await.unwrap().is_none());
        assert_eq!(store.contact_count(home.workspace).await.unwrap(), 0);
        assert_eq!(store.list(home.workspace, home.list).await.unwrap().members, 0);
        assert!(store.erase_contact(home.workspace, &BY, who).await.is_err(), "once");

        // The digest still knows the person, also after the mailbox comes back by a file.
        let left = store.check_suppression(home.workspace, &mailbox(WHO)).await.unwrap();
        assert!(left.iter().all(|s| s.mailbox.is_none()) && left.len() == 2, "{left:?}");
        let import = running_import(&store, home).await;
        let progress = SliceProgress { from: 0, to: 1 };
        store.upsert_rows(&import, &[row(1, WHO, "Rome")], &[], progress).await.unwrap();
        assert!(!store.check_suppression(home.workspace, &mailbox(WHO)).await.unwrap().is_empty());
        assert_eq!(
            store
                .opt_out(
                    home.workspace,
                    &Actor::Person,
                    OptOut {
                        contact: who,
                        out_of: OutOf::Everything,
                        delivery: None,
                        road: OptOutRoad::OneClick,
                        ip: None,
                        agent: None
                    }
                )
                .await
                .unwrap(),
            crate::opt_out::OptOutAnswer::Unknown,
            "an old link still answers"
        );
    }
}

#[tokio::test]
async fn an_erasure_takes_nothing_from_others() {
    for store in open_both("erasetwo").await {
        let home = place(&store, "Home").await;
        let ann = contact(&store, home, "ann@example.org").await;
        grant(&store, home, ann).await;
        let bob = contact(&store, home, "bob@example.org").await;
        grant(&store, home, bob).await;
        store.erase_contact(home.workspace, &BY, ann).await.unwrap();
        assert_eq!(store.contact(home.workspace, bob).await.unwrap().mailbox, "bob@example.org");
        assert_eq!(store.consents(home.workspace, bob).await.unwrap()[0].state, ConsentState::Granted);
        assert!(store.check_suppression(home.workspace, &mailbox("bob@example.org")).await.unwrap().is_empty());
        assert_eq!(store.list(home.workspace, home.list).await.unwrap().members, 1);
        assert!(store.verify_ledger(home.workspace).await.unwrap().is_whole());
    }
}

#[tokio::test]
async fn what_was_in_the_air_is_scrubbed_when_it_lands() {
    for store in open_both("scrub").await {
        let home = place(&store, "Home").await;
        let ann = contact(&store, home, WHO).await;
        let began = store.now() - 1;
        store.erase_contact(home.workspace, &BY, ann).await.unwrap();
        assert_eq!(store.scrub_erased(began).await.unwrap(), 0);
        let late = delivery(&store, home.workspace, Some(ann), None).await;
        let mut tx = store.begin(Lane::Web).await.unwrap();
        // As an attempt leaves it whose mailbox the erasure had taken away already.
        tx.execute(
            sql!("UPDATE delivery SET mailbox = '', mailbox_norm = 'erased', vars = NULL WHERE id = $1"),
            args![late],
        )
        .await
        .unwrap();
        tx.commit().await.unwrap();
        let mut found = search(&store, "gertrude").await;
        found.sort();
        assert_eq!(found, ["attempt.text", "delivery.last_text"]);
        assert_eq!(store.scrub_erased(began).await.unwrap(), 1);
        assert_eq!(search(&store, "gertrude").await, Vec::<String>::new());
        assert_eq!(store.scrub_erased(began).await.unwrap(), 0);
    }
}
