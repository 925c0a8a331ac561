//! Uploads: both forms, the cap, nothing left behind, repeated uploads, and files that spreadsheets may open.

use axum::body::Body;
use axum::http::{Method, Request};
use postrider_domain::import::RefusedReason;
use postrider_store::import::RefusedRow;
use postrider_store::import_slice::SliceProgress;
use serde_json::json;

use crate::world::{Answer, World, both, one, send};

async fn upload(world: &World, path: &str, content_type: &str, key: &str, body: impl Into<Body>) -> Answer {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("authorization", format!("Bearer {}", world.ours.key))
        .header("content-type", content_type);
    if !key.is_empty() {
        request = request.header("idempotency-key", key);
    }
    send(&world.router, request.body(body.into()).unwrap()).await
}

fn form(params: &str, file: &str) -> String {
    format!(
        "--B\r\nContent-Disposition: form-data; name=\"params\"\r\nContent-Type: application/json\r\n\r\n{params}\r\n\
         --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\\\people\\\\a b.csv\"\r\nContent-Type: text/csv\r\n\r\n{file}\r\n--B--\r\n"
    )
}

fn files(world: &World) -> usize {
    std::fs::read_dir(world.folder.path().join("imports")).map_or(0, Iterator::count)
}

const FORM: &str = "multipart/form-data; boundary=B";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_arrives_whole_in_both_forms() {
    for world in both("upload").await {
        let text = "mailbox;name\r\n\"gina@example.net\";\"Gina\nRossi\"\r\n";
        let params = json!({
            "mailbox": "mailbox", "delimiter": ";", "lists": [world.id("list")],
            "consent": { "source": "fair", "basis": "consent", "given_at": "2026-05-01T00:00:00Z", "purpose": world.id("purpose"), "wording": world.ours.wording }
        });
        let made = upload(&world, "/api/v1/imports", FORM, "", form(&params.to_string(), text)).await.good("form");
        assert_eq!((made["file_name"].as_str(), made["mailable"].as_bool()), (Some("a b.csv"), Some(true)), "{made}");
        assert_eq!(made["params"]["consent"]["given_at"], "2026-05-01T00:00:00.000Z");
        let id = made["id"].as_str().unwrap().parse().unwrap();
        let import = world.store().import(world.workspace(), id).await.unwrap();
        assert_eq!(std::fs::read_to_string(&import.file_path).unwrap(), text);
        assert!(!made.to_string().contains(&import.file_path), "the path on the server is nobody's business");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&import.file_path).unwrap().permissions().mode() & 0o777, 0o600);
        let made =
            upload(&world, "/api/v1/imports?file_name=../../etc/passwd", "text/csv", "", text).await.good("bare");
        assert_eq!(made["file_name"], "passwd");
        assert_eq!(made["consent_missing"], json!(["source", "basis", "given_at", "purpose", "wording"]));
        let path = format!("/api/v1/imports/{}", made["id"].as_str().unwrap());
        assert_eq!(world.post(&format!("{path}/stop"), &json!(null)).await.good("stop")["state"], "stopped");
        assert_eq!(world.post(&format!("{path}/resume"), &json!(null)).await.good("resume")["state"], "waiting");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_or_broken_upload_leaves_no_file() {
    let mut world = one("left").await;
    world.config.max_import_bytes = 1000;
    world.router = postrider_web::router(world.config.clone());
    let before = files(&world);
    let foreign = json!({ "lists": [world.theirs.ids["list"]] }).to_string();
    let cut = form("{}", "mailbox\r\na@example.net\r\n").replace("--B--", "");
    let broken = Body::from_stream(futures_util::stream::iter([
        Ok::<_, std::io::Error>(bytes::Bytes::from("mailbox\r\n")),
        Err(std::io::Error::other("gone")),
    ]));
    for (content_type, body, status) in [
        (FORM, Body::from(form("{\"nonsense\":1}", "mailbox\r\na@example.net\r\n")), 422),
        (FORM, Body::from(form("{", "mailbox\r\na@example.net\r\n")), 400),
        (FORM, Body::from(form(&foreign, "mailbox\r\na@example.net\r\n")), 404),
        (FORM, Body::from(form("{}", "")), 422),
        (FORM, Body::from(form("{}", &"x".repeat(2000))), 413),
        (FORM, Body::from(cut), 400),
        (FORM, Body::from("--B--"), 400),
        ("multipart/form-data", Body::from("x"), 400),
        ("text/csv", broken, 400),
        ("text/csv", Body::from(""), 422),
        ("text/csv", Body::from("x".repeat(1001)), 413),
        ("application/json", Body::from("{}"), 415),
    ] {
        upload(&world, "/api/v1/imports", content_type, "", body).await.problem(status, content_type);
        assert_eq!(files(&world), before, "{content_type} {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_upload_is_one_import() {
    for world in both("again").await {
        let count = async || world.get("/api/v1/imports").await.good("imports")["items"].as_array().unwrap().len();
        let before = (count().await, files(&world));
        let text = "mailbox\r\nh@example.net\r\n";
        let first = upload(&world, "/api/v1/imports", FORM, "k", form("{}", text)).await.good("first");
        let again = upload(&world, "/api/v1/imports", FORM, "k", form("{}", text)).await.good("again");
        assert_eq!(first, again, "{}", world.kind);
        assert_eq!((count().await, files(&world)), (before.0 + 1, before.1 + 1), "{}", world.kind);
        let other = upload(&world, "/api/v1/imports", FORM, "k", form("{}", "mailbox\r\ni@example.net\r\n")).await;
        other.problem(422, "another file");
        assert_eq!(files(&world), before.1 + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_are_a_file_without_formulas() {
    for world in both("refused").await {
        let id = world.id("import").parse().unwrap();
        let mut import = world.store().next_import(&[]).await.unwrap().unwrap();
        while import.id != id {
            import = world.store().next_import(&[]).await.unwrap().unwrap();
        }
        let refused: Vec<RefusedRow> = (1..=1200)
            .map(|row| RefusedRow {
                row,
                reason: RefusedReason::BadMailbox,
                detail: "=cmd|' /C calc'!A0".into(),
                raw: "@SUM(1),\"x\"\ny".into(),
            })
            .collect();
        let progress = SliceProgress { from: 0, to: 29 };
        world.store().upsert_rows(&import, &[], &refused, progress).await.unwrap();
        let answer = world.get(&format!("/api/v1/imports/{}/refused.csv", world.id("import"))).await;
        assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8");
        assert_eq!(answer.header("content-disposition"), "attachment; filename=\"refused.csv\"");
        let text = answer.text();
        assert!(
            text.starts_with("row,reason,sentence,detail,raw\r\n1,bad_mailbox,the mailbox is not valid,"),
            "{}",
            &text[..200]
        );
        assert_eq!(text.matches("bad_mailbox").count(), 1200, "{}", world.kind);
        assert!(!text.contains(",=") && !text.contains(",@") && text.contains("\"'=cmd|' /C calc'!A0\""));
        let audit = world.get("/api/v1/audit").await.good("audit").to_string();
        assert!(audit.contains("import.refused_rows"), "downloads are noted");
    }
}
