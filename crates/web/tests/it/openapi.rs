//! The OpenAPI file is the committed one, is complete, and every route went through the one door that asks for a rule.

use serde_json::Value;

fn committed() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json")
}

#[test]
fn the_committed_file_is_what_the_routes_say() {
    let now = postrider_web::openapi();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(committed(), &now).unwrap();
    }
    let kept = std::fs::read_to_string(committed()).unwrap_or_default();
    assert!(kept == now, "docs/openapi.json is old: run this test with UPDATE_OPENAPI=1 and commit the file");
}

/// Every operation of the document: method, path, description.
pub fn operations() -> Vec<(String, String, Value)> {
    let document: Value = serde_json::from_str(&postrider_web::openapi()).unwrap();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            found.push((method.to_uppercase(), path.clone(), operation.clone()));
        }
    }
    found
}

#[test]
fn every_operation_has_a_rule_an_id_and_answers() {
    let mut ids = std::collections::HashSet::new();
    let all = operations();
    assert!(all.len() > 80, "{}", all.len());
    for (method, path, operation) in all {
        let about = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{about}: the id is used twice");
        let word = operation["x-postrider-scope"].as_str().unwrap();
        let open = operation["security"].as_array().unwrap().is_empty();
        assert_eq!(open, matches!(word, "public" | "setup"), "{about}");
        assert!(operation["responses"].as_object().unwrap().len() > 1, "{about}: only the default answer is described");
        assert!(!operation["summary"].as_str().unwrap().is_empty(), "{about}");
        if let Some(body) = operation.pointer("/requestBody/content/application~1json") {
            assert!(body.get("example").is_some(), "{about}: the body has no example");
        }
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document: Value = serde_json::from_str(&postrider_web::openapi()).unwrap();
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
                }
                map.values().for_each(|v| walk(v, document));
            }
            Value::Array(items) => items.iter().for_each(|v| walk(v, document)),
            _ => {}
        }
    }
    walk(&document, &document);
}

/// The builder takes a `Rule` and there is no other way: routers are made in `api.rs` only.
#[test]
fn routes_are_added_in_one_place_only() {
    fn scan(folder: &std::path::Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                scan(&path);
                continue;
            }
            if path.extension().is_none_or(|e| e != "rs") || path.ends_with("api.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in [".route(\"", ".nest(", ".route_service(", ".merge(", "Router::new", "axum::routing"] {
                assert!(!text.contains(word), "{} has `{word}`: add routes with `Api::add`", path.display());
            }
        }
    }
    scan(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
}
