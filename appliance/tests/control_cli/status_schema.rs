//! `status --json` is what docs/status.schema.json says, and the schema names every field.

use boon::{Compiler, Schemas};
use serde_json::Value;

use crate::control_socket::TestFolder;
use crate::fake_appliance::FakeAppliance;

const SCHEMA: &str = include_str!("../../../docs/status.schema.json");

fn status() -> Value {
    let (folder, source) = (TestFolder::new(), FakeAppliance::new());
    let _server = folder.serve(&source);
    let ran = folder.synward(&["status", "--json"]);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Forbids unknown fields in every object whose fields are listed. Users' copies of the schema allow them.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(close);
            if object.get("properties").is_some_and(Value::is_object) {
                object.insert("additionalProperties".into(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// Why the document is not valid.
fn complaint(schema: Value, document: &Value) -> Option<String> {
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let place = "https://synward.invalid/status.schema.json";
    compiler.add_resource(place, schema).unwrap();
    let index = compiler.compile(place, &mut schemas).unwrap();
    let result = schemas.validate(document, index);
    result.err().map(|error| format!("{error:#}"))
}

#[test]
fn the_schema_describes_every_field() {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    close(&mut schema);
    assert_eq!(complaint(schema, &status()), None);
}

#[test]
fn a_missing_field_and_another_version_are_invalid() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let mut document = status();
    document["tomorrow"] = 1.into();
    assert_eq!(complaint(schema.clone(), &document), None);
    document["schema_version"] = 0.into();
    assert!(complaint(schema.clone(), &document).is_some());
    let mut document = status();
    document["services"][0]
        .as_object_mut()
        .unwrap()
        .remove("mode");
    let why = complaint(schema, &document).unwrap();
    assert!(why.contains("mode"), "{why}");
}
