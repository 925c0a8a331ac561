//! Wrong types, wrong JSON, wrong queries: always 4xx with a problem document, never 500 (Must show 9).

use axum::body::Body;
use axum::http::{Method, Request};
use postrider_web::LocalAdmin;
use serde_json::{Value, json};

use crate::matrix::fill;
use crate::openapi::operations;
use crate::world::{Answer, World, both, send};

fn document() -> Value {
    serde_json::from_str(&postrider_web::openapi()).unwrap()
}

/// Follows `$ref`.
fn resolve<'a>(schema: &'a Value, document: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => resolve(document.pointer(&reference[1..]).unwrap(), document),
        None => schema,
    }
}

/// The JSON types that a schema allows.
fn types(schema: &Value, document: &Value) -> Vec<String> {
    let schema = resolve(schema, document);
    for word in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema.get(word).and_then(Value::as_array) {
            return parts.iter().flat_map(|part| types(part, document)).collect();
        }
    }
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => vec!["any".into()],
    }
}

/// Values that the schema does not allow.
fn wrong(schema: &Value, document: &Value) -> Vec<Value> {
    let allowed = types(schema, document);
    let all = [
        ("string", json!("\u{0}nonsense\r\n")),
        ("integer", json!(7)),
        ("number", json!(7.5)),
        ("boolean", json!(true)),
        ("array", json!([[[1]]])),
        ("object", json!({ "nonsense": { "deep": 1 } })),
        ("null", Value::Null),
    ];
    let mut wrong: Vec<Value> = all
        .into_iter()
        .filter(|(kind, _)| !allowed.iter().any(|a| a == kind || a == "any" || (a == "number" && *kind == "integer")))
        .map(|(_, value)| value)
        .collect();
    let resolved = resolve(schema, document);
    if resolved.get("enum").is_some() || resolved.get("pattern").is_some() {
        wrong.push(json!("nonsense"));
    }
    if allowed.iter().any(|a| a == "integer") {
        wrong.push(json!(1.5));
        wrong.push(json!(1e300));
    }
    wrong
}

/// Sent with every right: by our key, or by the command line where keys may not.
async fn raw(world: &World, rule: &Value, method: &str, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
    let mut request = Request::builder()
        .method(method.parse::<Method>().unwrap())
        .uri(path)
        .header("content-type", content_type)
        .body(Body::from(body))
        .unwrap();
    if rule == "local" || rule == "session" || rule == "installation" {
        request.headers_mut().insert("postrider-workspace", world.ours.workspace.parse().unwrap());
        request.extensions_mut().insert(LocalAdmin);
    } else {
        request.headers_mut().insert("authorization", format!("Bearer {}", world.ours.key).parse().unwrap());
    }
    send(&world.router, request).await
}

#[track_caller]
fn refused(answer: &Answer, about: &str) {
    let status = answer.status.as_u16();
    assert!((400..500).contains(&status), "{about}: {status} {}", answer.text());
    answer.problem(status, about);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_with_a_wrong_type_is_refused() {
    let document = document();
    let mut tried = 0;
    for world in both("wrong").await {
        for (method, path, operation) in operations() {
            let Some(content) = operation.pointer("/requestBody/content/application~1json") else { continue };
            let rule = &operation["x-postrider-scope"];
            if rule == "setup" {
                continue;
            }
            let path = fill(&path, |name| world.id(name).to_owned());
            let schema = resolve(&content["schema"], &document);
            let example = &content["example"];
            for (name, property) in schema["properties"].as_object().unwrap() {
                for value in wrong(property, &document) {
                    let mut body = example.clone();
                    body[name] = value.clone();
                    let about = format!("{} {method} {path} with {name} = {value}", world.kind);
                    let answer =
                        raw(&world, rule, &method, &path, "application/json", body.to_string().into_bytes()).await;
                    refused(&answer, &about);
                    tried += 1;
                }
            }
            for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
                let mut body = example.clone();
                body.as_object_mut().unwrap().remove(name.as_str().unwrap());
                let about = format!("{} {method} {path} without {name}", world.kind);
                refused(
                    &raw(&world, rule, &method, &path, "application/json", body.to_string().into_bytes()).await,
                    &about,
                );
            }
            let mut unknown = example.clone();
            unknown["no_such_field"] = json!(1);
            let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
            for (body, about) in [
                (unknown.to_string().into_bytes(), "an unknown field"),
                (b"".to_vec(), "nothing"),
                (b"null".to_vec(), "null"),
                (b"[]".to_vec(), "an array"),
                (b"\"x\"".to_vec(), "a text"),
                (b"{".to_vec(), "half an object"),
                (format!("{example}x").into_bytes(), "something after the object"),
                (b"\xff\xfe{}".to_vec(), "no UTF-8"),
                (deep.into_bytes(), "deep nesting"),
            ] {
                let about = format!("{} {method} {path} with {about}", world.kind);
                refused(&raw(&world, rule, &method, &path, "application/json", body).await, &about);
            }
            let about = format!("{} {method} {path} as a form", world.kind);
            let form = raw(&world, rule, &method, &path, "application/x-www-form-urlencoded", b"a=b".to_vec()).await;
            form.problem(415, &about);
        }
    }
    assert!(tried > 300, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_with_a_wrong_value_is_refused() {
    let document = document();
    let mut tried = 0;
    for world in both("query").await {
        for (method, path, operation) in operations() {
            let rule = &operation["x-postrider-scope"];
            if rule == "public" {
                continue;
            }
            let path = fill(&path, |name| world.id(name).to_owned());
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let queries: Vec<&Value> = parameters.iter().filter(|p| p["in"] == "query").collect();
            for parameter in &queries {
                let schema = resolve(&parameter["schema"], &document);
                let name = parameter["name"].as_str().unwrap();
                let free = types(schema, &document).contains(&"string".to_owned())
                    && schema.get("enum").is_none()
                    && schema.get("pattern").is_none()
                    && !parameter["schema"].to_string().contains("$ref");
                let values: &[&str] = match name {
                    // Opaque, but never any text.
                    "cursor" => &["nonsense", "%00", "W10", "WyJhIiwxXQ"],
                    "params" => &["nonsense", "%5B%5D", "%7B%22lists%22%3A1%7D"],
                    "limit" => &["nonsense", "-1", "0", "501", "1.5", "99999999999999999999", ""],
                    _ if free => continue,
                    _ => &["nonsense", "%00", "-1.5", "%F0%9F%92%A3"],
                };
                for value in values {
                    let about = format!("{} {method} {path}?{name}={value}", world.kind);
                    let answer =
                        raw(&world, rule, &method, &format!("{path}?{name}={value}"), "text/csv", Vec::new()).await;
                    refused(&answer, &about);
                    tried += 1;
                }
            }
            if !queries.is_empty() {
                let about = format!("{} {method} {path}?no_such_parameter=1", world.kind);
                refused(
                    &raw(&world, rule, &method, &format!("{path}?no_such_parameter=1"), "text/csv", Vec::new()).await,
                    &about,
                );
            }
        }
    }
    assert!(tried > 100, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_path_with_a_wrong_id_is_refused() {
    for world in both("path").await {
        for (method, path, operation) in operations() {
            if !path.contains('{') || operation["x-postrider-scope"] == "public" {
                continue;
            }
            let body = operation.pointer("/requestBody/content/application~1json/example").cloned();
            for id in
                ["nonsense", "%00", "%FF%FE", "con_%20", "wsp_zzzzzzzzzzzzz", "-1", "%F0%9F%92%A3", "..%2F..%2Fetc"]
            {
                let filled = fill(&path, |_| id.to_owned());
                let about = format!("{} {method} {filled}", world.kind);
                let answer = world.call(method.parse().unwrap(), &filled, &world.ours.key, body.as_ref()).await;
                refused(&answer, &about);
            }
        }
    }
}

/// Texts that break careless programs. Some fields may take some of them; none may break anything.
const HOSTILE: &[&str] = &[
    "a\u{0}b",
    "\u{0}",
    "a\r\nBcc: x@example.net",
    "\u{2028}\u{85}\u{7f}\u{1b}[2J",
    "' OR 1=1; --",
    "{{ 7 * 7 }}{% for i in range(999999999) %}x{% endfor %}",
    "\u{202e}\u{1f4a3}\u{fffe}e\u{301}",
    "../../../etc/passwd",
    "",
    " ",
    "%00%s%n",
    "9999-12-31T23:59:59Z",
    "0000-00-00T00:00:00+99:99",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_text_breaks_anything() {
    let document = document();
    let mut tried = 0;
    for world in both("hostile").await {
        let long = "x".repeat(100_000);
        for (method, path, operation) in operations() {
            let rule = &operation["x-postrider-scope"];
            let about = format!("{} {method} {path}", world.kind);
            if rule == "setup" || operation["operationId"] == "change_password" {
                continue;
            }
            let filled = fill(&path, |name| world.id(name).to_owned());
            if let Some(content) = operation.pointer("/requestBody/content/application~1json") {
                let schema = resolve(&content["schema"], &document);
                for (name, property) in schema["properties"].as_object().unwrap() {
                    let kinds = types(property, &document);
                    for text in HOSTILE.iter().copied().chain([long.as_str()]) {
                        let value = match kinds.first().map(String::as_str) {
                            Some("string") => json!(text),
                            Some("array") => json!([text]),
                            Some("object" | "any") => {
                                json!({ "name": text, "body": text, "subject": text, "a": text, text: text })
                            }
                            _ => continue,
                        };
                        let mut body = content["example"].clone();
                        body[name] = value;
                        let body = body.to_string().into_bytes();
                        let answer = raw(&world, rule, &method, &filled, "application/json", body).await;
                        assert!(answer.status.as_u16() < 500, "{about} {name} = {text:?}: {}", answer.text());
                        tried += 1;
                    }
                }
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query") {
                for text in ["%00", "a%00b", "%FF", "%0D%0A", "%27%3B--", "%25", "_", "%5C", "%F4%8F%BF%BF"] {
                    let path = format!("{filled}?{}={text}", parameter["name"].as_str().unwrap());
                    let answer = raw(&world, rule, &method, &path, "text/csv", Vec::new()).await;
                    assert!(answer.status.as_u16() < 500, "{about}: {path}: {}", answer.text());
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 1000, "{tried}");
}
