//! Imports: counts, consent, resuming and races, on both databases.

use std::collections::BTreeMap;

use postrider_domain::consent::ConsentState;
use postrider_domain::contact::AddressState;
use postrider_domain::id::ContactId;
use postrider_domain::import::{ImportState, RefusedReason};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::actor::Actor;
use crate::book_rig::{BY, Place, consent, contact, grant, place, row, running_import};
use crate::contact::ContactFilter;
use crate::import::{Import, ImportEnd, RefusedRow};
use crate::import_slice::{ImportRow, SliceAnswer, SliceProgress};
use crate::opt_out::{OptOut, OptOutRoad, OutOf};
use crate::page::PageRequest;
use crate::testing::{open_both, open_postgres};
use crate::{Store, StoreError};

fn refused(n: i64) -> RefusedRow {
    RefusedRow { row: n, reason: RefusedReason::BadMailbox, detail: "no @".into(), raw: format!("bad\0row {n}") }
}

fn at(from: usize, to: usize) -> SliceProgress {
    SliceProgress { from: from as i64, to: to as i64 }
}

/// Writes rows in slices that end at `cuts`; each row is one byte long, so offsets are row numbers.
async fn write(store: &Store, import: &Import, rows: &[ImportRow], cuts: &[usize]) {
    let mut from = usize::try_from(import.byte_offset).unwrap();
    for to in cuts.iter().copied().chain([rows.len()]) {
        if to <= from {
            continue;
        }
        let answer = store.upsert_rows(import, &rows[from..to], &[], at(from, to)).await.unwrap();
        assert!(matches!(answer, SliceAnswer::Committed(_)));
        from = to;
    }
}

/// Everything that an import leaves behind, without ids and times.
async fn result(store: &Store, place: Place) -> (BTreeMap<String, String>, String, i64) {
    let mut people = BTreeMap::new();
    let mut page = PageRequest::first(7);
    loop {
        let filter = ContactFilter { list: Some(place.list), mailbox_prefix: None };
        let got = store.contacts(place.workspace, &filter, &page).await.unwrap();
        for c in got.items {
            let consents = store.consents(place.workspace, c.id).await.unwrap();
            let consents: Vec<_> = consents.iter().map(|c| (c.state, c.basis, c.since)).collect();
            people.insert(c.mailbox.clone(), format!("{:?} {:?} {consents:?}", c.attributes, c.language));
        }
        if got.next.is_none() {
            break;
        }
        page = page.after(got.next);
    }
    let import = &store.imports(place.workspace, &PageRequest::first(1)).await.unwrap().items[0];
    let report = store.verify_ledger(place.workspace).await.unwrap();
    assert!(report.is_whole(), "{report:?}");
    (people, format!("{:?} {} {}", import.counts, import.rows, import.byte_offset), report.entries)
}

#[tokio::test]
async fn rows_become_contacts_members_and_consents_and_each_is_counted() {
    for store in open_both("import").await {
        let home = place(&store, "Home").await;
        let bob = contact(&store, home, "bob@example.org").await;
        let import = running_import(&store, home).await;
        let mut odd = row(5, "eve@example.org", "Rome");
        odd.attributes.insert("Bad Name".into(), 1.into());
        let rows = vec![
            row(1, "ann@example.org", "Turin"),
            row(2, "Bob@example.org", "Rome"),
            row(3, "ann@example.org", "Milan"),
            row(4, "ANN@example.org", "Milan"),
            odd,
        ];
        let answer = store.upsert_rows(&import, &rows, &[refused(6)], at(0, 6)).await.unwrap();
        let SliceAnswer::Committed(counts) = answer else { panic!("not running") };
        assert_eq!((counts.created, counts.updated, counts.unchanged), (1, 2, 1));
        assert_eq!(counts.refused, BTreeMap::from([("bad_cell".to_owned(), 1), ("bad_mailbox".to_owned(), 1)]));
        assert_eq!(counts.rows(), 6);

        let ann = store
            .contact_by_mailbox(home.workspace, &crate::book_rig::mailbox("ann@example.org"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(ann.attributes["city"], "Milan", "the later row wins");
        let bob = store.contact(home.workspace, bob).await.unwrap();
        assert_eq!(
            (bob.mailbox.as_str(), &bob.attributes["name"]),
            ("bob@example.org", &"Ann".into()),
            "what the file lacks stays"
        );
        assert_eq!(bob.address_state, AddressState::Mailable);
        for id in [ann.id, bob.id] {
            let consents = store.consents(home.workspace, id).await.unwrap();
            assert_eq!(consents[0].state, ConsentState::Granted);
            assert_eq!(consents[0].since, store.now() - 86_400_000, "since the day they agreed");
        }
        assert_eq!(store.contact_count(home.workspace).await.unwrap(), 2);
        assert_eq!(store.list(home.workspace, home.list).await.unwrap().members, 2);
        let bad = store.refused_rows(home.workspace, import.id, &PageRequest::first(9)).await.unwrap().items;
        assert_eq!(bad.iter().map(|r| r.row).collect::<Vec<_>>(), [5, 6]);
        store.finish_import(&import, ImportEnd::Done).await.unwrap();
        assert_eq!(store.import(home.workspace, import.id).await.unwrap().state, ImportState::Done);
        assert!(store.next_import(&[]).await.unwrap().is_none());
        assert!(store.verify_ledger(home.workspace).await.unwrap().is_whole());
    }
}

#[tokio::test]
async fn a_file_never_overturns_a_person_and_without_a_basis_grants_nothing() {
    for store in open_both("importlaw").await {
        let home = place(&store, "Home").await;
        let mut people = Vec::new();
        for (name, state) in
            [("req", ConsentState::Requested), ("ref", ConsentState::Refused), ("out", ConsentState::Withdrawn)]
        {
            let id = contact(&store, home, &format!("{name}@example.org")).await;
            store.record_consent(home.workspace, &BY, consent(&store, home, id, state)).await.unwrap();
            people.push(id);
        }
        let rows: Vec<_> =
            ["req", "ref", "out"].iter().zip(1..).map(|(n, i)| row(i, &format!("{n}@example.org"), "Rome")).collect();
        let import = running_import(&store, home).await;
        store.upsert_rows(&import, &rows, &[], at(0, 3)).await.unwrap();
        let mut states = Vec::new();
        for id in people {
            states.push(store.consents(home.workspace, id).await.unwrap()[0].state);
        }
        assert_eq!(states, [ConsentState::Granted, ConsentState::Refused, ConsentState::Withdrawn]);
        store.finish_import(&import, ImportEnd::Done).await.unwrap();

        let mut bare = crate::import::NewImport { file_name: "b.csv".into(), ..Default::default() };
        bare.consent.source = "somewhere".into();
        store.create_import(home.workspace, &BY, bare).await.unwrap();
        let import = store.next_import(&[]).await.unwrap().unwrap();
        store.upsert_rows(&import, &[row(1, "new@example.org", "Rome")], &[], at(0, 1)).await.unwrap();
        let new = store
            .contact_by_mailbox(home.workspace, &crate::book_rig::mailbox("new@example.org"))
            .await
            .unwrap()
            .unwrap();
        assert!(store.consents(home.workspace, new.id).await.unwrap().is_empty(), "stored but not mailable (LAW-24)");
    }
}

/// Files with repeated mailboxes and changing cells.
fn file() -> impl Strategy<Value = Vec<ImportRow>> {
    prop::collection::vec((0usize..12, 0usize..3, any::<bool>()), 1..60).prop_map(|rows| {
        rows.into_iter()
            .zip(1..)
            .map(|((who, city, language), n)| {
                let mut row = row(n, &format!("p{who}@example.org"), ["Rome", "Turin", "Milan"][city]);
                row.language = language.then(|| "it".to_owned());
                row
            })
            .collect()
    })
}

#[tokio::test]
async fn killed_anywhere_and_resumed_the_result_is_the_same() {
    let mut runner = TestRunner::deterministic();
    for mut store in open_both("resume").await {
        let kind = store.kind;
        for case in 0..12 {
            let rows = file().new_tree(&mut runner).unwrap().current();
            let cut = |r: &mut TestRunner| (0..=rows.len()).new_tree(r).unwrap().current();
            let mut cuts = [cut(&mut runner), cut(&mut runner), cut(&mut runner)];
            cuts.sort_unstable();

            let whole = place(&store, "Whole").await;
            let import = running_import(&store, whole).await;
            write(&store, &import, &rows, &[]).await;
            store.finish_import(&import, ImportEnd::Done).await.unwrap();
            let want = result(&store, whole).await;

            let parts = place(&store, "Parts").await;
            let mut import = running_import(&store, parts).await;
            write(&store, &import, &rows[..cuts[1]], &[cuts[0]]).await;
            if case % 4 == 0 {
                // The process dies and the next one finds the import still running on its own node.
                store.kill_and_reopen().await;
                import = store.next_import(&[]).await.unwrap().unwrap();
            } else {
                store.stop_import(parts.workspace, &BY, import.id).await.unwrap();
                let late = store.upsert_rows(&import, &rows[cuts[1]..], &[], at(cuts[1], rows.len())).await.unwrap();
                assert_eq!(late, SliceAnswer::NotRunning);
                store.resume_import(parts.workspace, &BY, import.id).await.unwrap();
                import = store.next_import(&[]).await.unwrap().unwrap();
            }
            assert_eq!(import.byte_offset, cuts[1] as i64);
            write(&store, &import, &rows, &[cuts[2]]).await;
            store.finish_import(&import, ImportEnd::Done).await.unwrap();
            assert_eq!(result(&store, parts).await, want, "{kind}, cuts {cuts:?}, rows {rows:?}");
        }
    }
}

#[tokio::test]
async fn a_slice_is_written_once() {
    for store in open_both("slice").await {
        let home = place(&store, "Home").await;
        let import = running_import(&store, home).await;
        let rows = [row(1, "ann@example.org", "Rome")];
        store.upsert_rows(&import, &rows, &[], at(0, 1)).await.unwrap();
        for wrong in [at(0, 1), at(2, 3), at(1, 0)] {
            let again = store.upsert_rows(&import, &rows, &[], wrong).await;
            assert!(matches!(again, Err(StoreError::Conflict { .. })), "{wrong:?}");
        }
        assert_eq!(store.import(home.workspace, import.id).await.unwrap().counts.rows(), 1);
    }
}

#[tokio::test]
async fn two_imports_of_the_same_people_race_and_nobody_is_lost_or_doubled() {
    let store = open_postgres("importrace").await;
    let second = store.second_node().await;
    let home = place(&store, "Home").await;
    for round in 0..6 {
        let mine = running_import(&store, home).await;
        let theirs = running_import(&second, home).await;
        assert_ne!(mine.id, theirs.id);
        let forth: Vec<_> = (0..200).map(|n| row(n, &format!("r{round}p{n}@example.org"), "Rome")).collect();
        let back: Vec<_> = forth.iter().rev().cloned().collect();
        let (a, b) = tokio::join!(
            store.upsert_rows(&mine, &forth, &[], at(0, 200)),
            second.upsert_rows(&theirs, &back, &[], at(0, 200))
        );
        let (SliceAnswer::Committed(a), SliceAnswer::Committed(b)) = (a.unwrap(), b.unwrap()) else {
            panic!("stopped")
        };
        assert_eq!(a.created + b.created, 200);
        assert_eq!(a.unchanged + b.unchanged, 200);
        store.finish_import(&mine, ImportEnd::Done).await.unwrap();
        second.finish_import(&theirs, ImportEnd::Done).await.unwrap();
        assert_eq!(store.contact_count(home.workspace).await.unwrap(), (round + 1) * 200);
    }
    let report = store.verify_ledger(home.workspace).await.unwrap();
    assert!(report.is_whole() && report.entries == 1_200, "{report:?}");
}

#[tokio::test]
async fn an_opt_out_during_the_import_wins() {
    let store = open_postgres("importout").await;
    let second = store.second_node().await;
    let home = place(&store, "Home").await;
    for round in 0..10 {
        let people: Vec<ContactId> = {
            let mut people = Vec::new();
            for n in 0..3 {
                people.push(contact(&store, home, &format!("r{round}p{n}@example.org")).await);
            }
            people
        };
        let import = running_import(&store, home).await;
        let rows: Vec<_> = (0..3).map(|n| row(n, &format!("r{round}p{n}@example.org"), "Rome")).collect();
        let out = OptOut {
            contact: people[1],
            out_of: OutOf::Purpose(home.purpose),
            delivery: None,
            road: OptOutRoad::Page,
            ip: None,
            agent: None,
        };
        let (a, b) = tokio::join!(
            store.upsert_rows(&import, &rows, &[], at(0, 3)),
            second.opt_out(home.workspace, &Actor::Person, out)
        );
        a.unwrap();
        b.unwrap();
        store.finish_import(&import, ImportEnd::Done).await.unwrap();
        let state = store.consents(home.workspace, people[1]).await.unwrap()[0].state;
        assert_eq!(state, ConsentState::Withdrawn, "round {round}");
    }
    assert!(store.verify_ledger(home.workspace).await.unwrap().is_whole());
    let person = contact(&store, home, "z@example.org").await;
    grant(&store, home, person).await;
}
