//! The journal, the kept bodies and the control port, which other processes look at.

use std::net::SocketAddr;

use postrider_sim::{Depth, Keep, Trace, World, WorldConfig, WorldError};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::rig::{Rig, message, send};

async fn ask(address: SocketAddr, lines: &[&str]) -> Vec<Value> {
    let stream = TcpStream::connect(address).await.expect("the control port listens");
    let mut stream = BufReader::new(stream);
    let mut replies = Vec::new();
    for line in lines {
        stream.write_all(format!("{line}\n").as_bytes()).await.expect("write");
        let mut reply = String::new();
        stream.read_line(&mut reply).await.expect("read");
        replies.push(serde_json::from_str(&reply).expect("JSON"));
    }
    replies
}

#[tokio::test]
async fn the_control_port_answers_in_json() {
    let config = WorldConfig { control_bind: Some("127.0.0.1:0".parse().expect("literal")), ..WorldConfig::default() };
    let rig = Rig::with(config).await;
    let control = rig.world.control_addr().expect("bound");
    rig.deliver("ann@mail1.test", "a@x").await.expect("accepted");
    rig.deliver("ann@mail1.test", "a@x").await.expect("accepted");
    let replies = ask(
        control,
        &[
            "STATS",
            "HAS <a@x>",
            "HAS b@x",
            "COUNT ann@mail1.test",
            "DUPLICATES",
            "BEHAVE mail1.test unknown",
            "BEHAVE mail1.test nonsense",
            "TXT a.test hello",
            "nonsense",
            "LIST",
        ],
    )
    .await;
    assert_eq!(replies[0]["accepted"], 2);
    assert_eq!(replies[0]["messages"], 1);
    assert_eq!(replies[0]["duplicates"], 1);
    assert_eq!(replies[1]["receipts"][0]["count"], 2);
    assert_eq!(replies[1]["receipts"][0]["identical"], true);
    assert_eq!(replies[2]["receipts"].as_array().map(Vec::len), Some(0));
    assert_eq!(replies[3]["copies"], 2);
    assert_eq!(replies[4]["count"], 1);
    assert_eq!(replies[5]["ok"], true);
    assert!(replies[6]["error"].is_string());
    assert_eq!(replies[7]["ok"], true);
    assert!(replies[8]["error"].is_string());
    assert!(replies[9]["table"].as_str().is_some_and(|table| table.contains("drop-dot[N]")));
    rig.deliver("ann@mail1.test", "c@x").await.expect_err("mail1.test knows nobody now");
    let replies = ask(control, &["RESET", "STATS"]).await;
    assert_eq!(replies[1]["accepted"], 0);
    assert_eq!(replies[1]["messages"], 0);
}

#[tokio::test]
async fn the_journal_has_a_line_before_the_sender_has_its_250() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let config = WorldConfig { journal: Some(path.clone()), trace: Trace::On, ..WorldConfig::default() };
    let rig = Rig::with(config).await;
    let mut connection = rig.open("mail1.test").await.expect("open");
    for n in 1..=5 {
        send(&mut connection, "ann@mail1.test", &format!("{n}@x")).await.expect("accepted");
        let lines: Vec<Value> = std::fs::read_to_string(&path)
            .expect("the journal")
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect();
        let kept: Vec<_> = lines.iter().filter(|line| line["kind"] == "kept").collect();
        assert_eq!(kept.len(), n);
        let last = kept[n - 1];
        assert_eq!(last["message_id"], format!("{n}@x"));
        assert_eq!(last["to"], "ann@mail1.test");
        assert_eq!(last["from"], "bounce@sender.test");
        assert_eq!(last["size"], message("ann@mail1.test", &format!("{n}@x")).len());
        assert_eq!(last["sha256"].as_str().map(str::len), Some(64));
        assert_eq!(lines.iter().filter(|line| line["kind"] == "rcpt").count(), n);
    }
    let _ = send(&mut connection, "ann+unknown@mail1.test", "6@x").await.expect_err("unknown");
    let text = std::fs::read_to_string(&path).expect("the journal");
    assert!(text.lines().last().is_some_and(|line| line.contains("550 5.1.1")));
}

#[tokio::test]
async fn the_control_port_tells_what_was_said_and_kept() {
    let config = WorldConfig {
        control_bind: Some("127.0.0.1:0".parse().expect("literal")),
        trace: Trace::On,
        keep: Keep::Last(5),
        ..WorldConfig::default()
    };
    let rig = Rig::with(config).await;
    rig.deliver("ann+defer1@mail1.test", "1@x").await.expect_err("deferred");
    for n in 1..=3 {
        rig.deliver("ann+defer1@mail1.test", &format!("{n}@x")).await.expect("accepted");
    }
    let control = rig.world.control_addr().expect("bound");
    let replies = ask(control, &["SEEN ann+defer1@mail1.test", "LAST", "LAST 2", "LAST 99", "LAST x"]).await;
    let seen = replies[0]["seen"].as_array().expect("a list");
    let said: Vec<_> =
        seen.iter().map(|seen| (seen["stage"].as_str(), &seen["reply"].as_str().expect("text")[..3])).collect();
    assert_eq!(said[..3], [(Some("rcpt"), "451"), (Some("rcpt"), "250"), (Some("dot"), "250")]);
    assert_eq!(seen.len(), 7);
    for (reply, count) in replies[1..4].iter().zip([1, 2, 3]) {
        let messages = reply["messages"].as_array().expect("a list");
        assert_eq!(messages.len(), count);
        let last = &messages[count - 1];
        assert!(last["text"].as_str().is_some_and(|text| text.contains("Message-ID: <3@x>")), "{last}");
    }
    assert!(replies[4]["error"].is_string());
}

#[tokio::test]
async fn bodies_are_kept_when_asked_for() {
    let rig = Rig::with(WorldConfig { keep: Keep::Last(2), ..WorldConfig::default() }).await;
    for n in 1..=3 {
        rig.deliver("ann@mail1.test", &format!("{n}@x")).await.expect("accepted");
    }
    let kept = rig.world.kept();
    assert_eq!(kept.len(), 2);
    assert_eq!(kept[1].bytes, message("ann@mail1.test", "3@x"));
    assert_eq!(kept[1].recipients, ["ann@mail1.test"]);

    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("bodies");
    let rig = Rig::with(WorldConfig { keep: Keep::Folder(inside.clone()), ..WorldConfig::default() }).await;
    rig.deliver("ann@mail1.test", "1@x").await.expect("accepted");
    let files: Vec<_> = std::fs::read_dir(&inside).expect("the folder").collect();
    assert_eq!(files.len(), 1);
    let path = files[0].as_ref().expect("a file").path();
    assert_eq!(std::fs::read(path).expect("a body"), message("ann@mail1.test", "1@x"));
}

#[tokio::test]
async fn less_is_remembered_when_less_is_asked_for() {
    let rig = Rig::with(WorldConfig { depth: Depth::WithoutHash, ..WorldConfig::default() }).await;
    rig.deliver("ann@mail1.test", "1@x").await.expect("accepted");
    assert_eq!(rig.world.record().by_message_id("1@x")[0].sha256, [0; 32]);
    let rig = Rig::with(WorldConfig::sink_only()).await;
    rig.deliver("ann@mail1.test", "1@x").await.expect("accepted");
    assert_eq!((rig.world.stats().accepted, rig.world.record().messages()), (1, 0));
}

#[tokio::test]
async fn a_world_is_never_reachable_from_outside() {
    let outside = "0.0.0.0:0".parse().expect("literal");
    for config in [
        WorldConfig { dns_bind: outside, ..WorldConfig::default() },
        WorldConfig { control_bind: Some(outside), ..WorldConfig::default() },
    ] {
        assert!(matches!(World::start(config).await.err(), Some(WorldError::NotLoopback(_))));
    }
}

#[tokio::test]
async fn a_stopped_world_is_gone() {
    let rig = Rig::new().await;
    let port = rig.world.mx_port();
    let mut connection = rig.open("mail1.test").await.expect("open");
    rig.world.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    assert!(send(&mut connection, "ann@mail1.test", "a@x").await.is_err());
}
