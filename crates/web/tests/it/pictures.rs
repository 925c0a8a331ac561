//! Pictures: uploaded as they are, shown to everybody who has the address, with no more than the address.

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::json;

use crate::world::{Answer, DOT, World, both, one, request, send};

async fn upload(world: &World, query: &str, bytes: Vec<u8>) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/pictures{query}"))
        .header("authorization", format!("Bearer {}", world.ours.key))
        // Whatever the header says, the bytes decide.
        .header("content-type", "image/png")
        .body(Body::from(bytes))
        .unwrap();
    send(&world.router, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_goes_in_and_is_shown_to_everybody() {
    for world in both("pics").await {
        let kept = upload(&world, "?name=dot.gif&alt=A%20dot&width=50", DOT.to_vec()).await.good("upload");
        assert_eq!(kept["alt"], "A dot");
        let again = upload(&world, "?width=50", DOT.to_vec()).await.good("again");
        assert_eq!((&again["id"], &again["alt"]), (&kept["id"], &kept["alt"]), "kept once, with its words");
        let address = kept["plain"]["address"].as_str().unwrap();
        let path = address.strip_prefix("https://ours.example.org").unwrap();
        let shown = send(&world.router, request(Method::GET, path, "", None)).await;
        assert_eq!(shown.status.as_u16(), 200, "{path}");
        assert_eq!(shown.header("content-type"), "image/png");
        assert_eq!(shown.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(shown.header("x-content-type-options"), "nosniff");
        assert_eq!(shown.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(shown.header("set-cookie"), "");
        assert!(shown.bytes.starts_with(b"\x89PNG"));
        for wrong in ["/pictures/x", "/pictures/-1x.png", &path.replace("-1x", "-2x"), &path.replace("-1x", "-3x")] {
            send(&world.router, request(Method::GET, wrong, "", None)).await.problem(404, wrong);
        }
        let listed = world.get("/api/v1/pictures").await.good("list");
        assert_eq!(listed["items"].as_array().unwrap().len(), 2, "that of the world and ours");
        // A draft shows it: it stays, and the refusal names the campaign.
        let campaign =
            json!({ "name": "June", "draft": { "format": "markdown", "body": format!("![A dot]({address})") } });
        let campaign = world.post("/api/v1/campaigns", &campaign).await.good("campaign");
        let one = format!("/api/v1/pictures/{}", kept["id"].as_str().unwrap());
        let delete = async || world.call(Method::DELETE, &one, &world.ours.key, None).await;
        assert!(delete().await.problem(409, "in use")["detail"].as_str().unwrap().contains("June"));
        let campaign = format!("/api/v1/campaigns/{}", campaign["id"].as_str().unwrap());
        world.call(Method::DELETE, &campaign, &world.ours.key, None).await.good("campaign");
        delete().await.good("picture");
        send(&world.router, request(Method::GET, path, "", None)).await.problem(404, "deleted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_picture_is_refused_with_words() {
    let world = one("nopics").await;
    let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>".to_vec();
    let problem = upload(&world, "", svg).await.problem(415, "svg");
    assert!(problem["detail"].as_str().unwrap().contains("SVG"));
    let problem = upload(&world, "", vec![0x89; 10 * 1024 * 1024 + 1]).await.problem(413, "large");
    assert!(problem["detail"].as_str().unwrap().contains("10 MiB"));
    upload(&world, "", DOT[..20].to_vec()).await.problem(422, "broken off");
    upload(&world, "?width=5", DOT.to_vec()).await.problem(400, "narrow");
}
