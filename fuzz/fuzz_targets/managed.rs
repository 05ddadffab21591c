//! Managed fields and patches as clients send them: applying to whatever there is fails or works.
#![no_main]

use fluvial_merge::managed::{ApplyRequest, UpdateRequest, apply, unchanged, update};
use fluvial_merge::{json_patch, merge_patch, strategic};
use fluvial_schema::SchemaSet;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    let mut parts = text.splitn(2, '\n');
    let (Some(first), Some(second)) = (parts.next(), parts.next()) else {
        return;
    };
    let (Ok(mut live), Ok(patch)) = (
        serde_json::from_str::<Value>(first),
        serde_json::from_str::<Value>(second),
    ) else {
        return;
    };
    let schemas = SchemaSet::builtin();
    let types = schemas.kind("apps", "v1", "Deployment");
    if let Some(map) = live.as_object_mut() {
        map.insert("apiVersion".into(), "apps/v1".into());
        map.insert("kind".into(), "Deployment".into());
    }
    for types in [types.as_ref(), None] {
        let request = ApplyRequest {
            types,
            live: Some(&live),
            empty: None,
            applied: &patch,
            manager: "fuzz",
            subresource: "",
            api_version: "apps/v1",
            time: "2024-01-01T00:00:00Z",
            force: true,
            reset_fields: &[],
        };
        let _same = unchanged(&request);
        let _merged = apply(&request);
        let _updated = update(UpdateRequest {
            types,
            live: Some(&live),
            updated: patch.clone(),
            manager: "fuzz",
            subresource: "",
            api_version: "apps/v1",
            time: "2024-01-01T00:00:00Z",
            reset_fields: &[],
        });
        let _strategic = strategic::apply(live.clone(), &patch, types);
    }
    let _json = json_patch::apply(&mut live.clone(), &patch);
    let _merge = merge_patch::apply(&mut live, &patch);
});
