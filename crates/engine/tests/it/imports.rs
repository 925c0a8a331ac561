//! Imports: what becomes of each row, and that a kill in the middle changes nothing.

use std::io::Write;
use std::time::Duration;

use postrider_domain::consent::LegalBasis;
use postrider_domain::id::ImportId;
use postrider_domain::import::{ImportConsent, ImportCounts, ImportState, Mapping, RefusedReason};
use postrider_store::import::{Import, NewImport};
use postrider_store::page::PageRequest;

use crate::on_both;
use crate::rig::{CONSOLE, Rig, rehearsal};

on_both!(rows_become_contacts_or_reasons, a_kill_in_the_middle_changes_nothing, an_import_is_stopped_and_resumed);

impl Rig {
    async fn import(&self, name: &str, bytes: &[u8]) -> ImportId {
        let path = self.store.data().join(name);
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        let new = NewImport {
            file_path: path.display().to_string(),
            file_name: name.into(),
            size: i64::try_from(bytes.len()).unwrap(),
            mapping: Mapping { lists: vec![self.list], ..Mapping::default() },
            consent: ImportConsent {
                source: "fair of Pavia".into(),
                basis: Some(LegalBasis::Consent),
                given_at: Some(self.store.now() - 1_000),
                purpose: Some(self.purpose),
                wording: Some(self.wording),
            },
        };
        self.store.create_import(self.workspace, &CONSOLE, new).await.unwrap().id
    }

    async fn get(&self, import: ImportId) -> Import {
        self.store.import(self.workspace, import).await.unwrap()
    }

    async fn until_import(&self, import: ImportId, state: ImportState) -> Import {
        self.until("the import", || async { self.get(import).await.state == state }).await;
        self.get(import).await
    }
}

/// Seeds, case 1, and every reason; then the contacts can be written to.
async fn rows_become_contacts_or_reasons(rig: Rig) {
    let engine = rig.engine().await;
    let file = "E-Mail;Name;Città;Lingua\r\n\
        anna@mail1.test;Anna;Pavia;it\r\n\
        bruno@mail2.test;\"Bruno \"\"B\"\"\";\"Forlì\ncentro\";it\r\n\
        gone@nxdomain.test;Gone;;\r\n\
        null@nullmx.test;Null;;\r\n\
        not a mailbox;Nobody;;\r\n\
        ;Empty;;\r\n\
        carla@mail3.test;Carla;Roma;it;more;cells\r\n\
        dora@mail4.test;\"Dora;Open;it\r\n\
        info@mail5.test;Info;Milano;it\r\n\
        ANNA@mail1.test;Anna;Pavia;it\r\n";
    let import = rig.import("people.csv", file.as_bytes()).await;
    let done = rig.until_import(import, ImportState::Done).await;
    let refused = rig.store.refused_rows(rig.workspace, import, &PageRequest::first(50)).await.unwrap().items;
    let reasons: Vec<_> = refused.iter().map(|r| (r.row, r.reason)).collect();
    assert_eq!(
        reasons,
        [
            (3, RefusedReason::NoMailServer),
            (4, RefusedReason::NullMx),
            (5, RefusedReason::BadMailbox),
            (6, RefusedReason::NoMailbox),
            (7, RefusedReason::CellCount),
            (8, RefusedReason::BadCell),
        ]
    );
    assert_eq!((done.counts.created, done.counts.unchanged, done.counts.rows()), (3, 1, 10), "{:?}", done.counts);
    assert_eq!(done.detected.unwrap()["delimiter"], ";");
    let campaign = rig.campaign(rehearsal()).await;
    rig.until_done_winding(campaign, 200).await;
    assert_eq!(rig.ledger(campaign).await.accepted, 3);
    engine.shutdown(Duration::from_secs(10)).await;
}

/// 20,000 rows, one in a hundred bad.
fn large_file() -> Vec<u8> {
    let mut file = b"\xEF\xBB\xBFemail,name,city\n".to_vec();
    for n in 0..20_000 {
        let line = match n % 100 {
            50 => format!("bad {n} mailbox,Name {n},City\n"),
            _ => format!("p{n}@mail{}.test,Name {n},\"City, {n}\"\n", n % 50),
        };
        file.extend_from_slice(line.as_bytes());
    }
    file
}

fn expected() -> ImportCounts {
    ImportCounts { created: 19_800, refused: [("bad_mailbox".to_owned(), 200)].into(), ..ImportCounts::default() }
}

async fn a_kill_in_the_middle_changes_nothing(mut rig: Rig) {
    let mut engine = rig.engine().await;
    let import = rig.import("large.csv", &large_file()).await;
    for _ in 0..3 {
        let goal = rig.get(import).await.rows + 3_000;
        rig.until("some rows", || async { rig.get(import).await.rows >= goal.min(20_000) }).await;
        drop(engine);
        rig.store.kill_and_reopen().await;
        engine = rig.engine().await;
    }
    let done = rig.until_import(import, ImportState::Done).await;
    assert_eq!((done.rows, done.counts), (20_000, expected()));
    assert_eq!(rig.store.contact_count(rig.workspace).await.unwrap(), 19_800);
    engine.shutdown(Duration::from_secs(10)).await;
}

async fn an_import_is_stopped_and_resumed(rig: Rig) {
    let engine = rig.engine().await;
    let import = rig.import("large.csv", &large_file()).await;
    rig.until("some rows", || async { rig.get(import).await.rows >= 1_000 }).await;
    rig.store.stop_import(rig.workspace, &CONSOLE, import).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let stopped = rig.get(import).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.get(import).await.rows, stopped.rows, "reads no further");
    rig.store.resume_import(rig.workspace, &CONSOLE, import).await.unwrap();
    let done = rig.until_import(import, ImportState::Done).await;
    assert_eq!((done.rows, done.counts), (20_000, expected()));
    engine.shutdown(Duration::from_secs(10)).await;
}
