//! The status of validating policies: what is wrong with their expressions for the kinds that they are about.

use fluvial_merge::managed::{ApplyRequest, apply};
use fluvial_schema::cel::{Env, Program, Type};
use serde_json::{Value, json};

use super::VALIDATING;
use crate::api::{Api, meta};
use crate::kinds::Kind;
use crate::store::{Expect, Notice};

/// Kinds looked at for one policy.
const KINDS: usize = 10;

/// Follows a change of a policy.
pub fn react(api: &Api, notice: &Notice) {
    if &*notice.collection != VALIDATING || notice.event.change == crate::store::Change::Deleted {
        return;
    }
    let collection = api.store.collection(VALIDATING);
    let Some(stored) = collection.get(&notice.event.object.key) else {
        return;
    };
    let mut policy = stored.value();
    let generation = policy["metadata"]["generation"].clone();
    if policy["status"]["observedGeneration"] == generation
        || !policy["metadata"]["deletionTimestamp"].is_null()
    {
        return;
    }
    let version = "admissionregistration.k8s.io/v1";
    policy["apiVersion"] = version.into();
    policy["kind"] = "ValidatingAdmissionPolicy".into();
    let warnings = warnings(api, &policy["spec"]);
    let mut checking = json!({});
    if !warnings.is_empty() {
        checking["expressionWarnings"] = warnings.into();
    }
    let applied = json!({"apiVersion": version, "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": meta(&policy, "name")},
        "status": {"observedGeneration": generation, "typeChecking": checking}});
    let types = api
        .schemas
        .kind("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy");
    let result = apply(&ApplyRequest {
        types: types.as_ref(),
        live: Some(&policy),
        empty: None,
        applied: &applied,
        manager: "validatingadmissionpolicy-status",
        subresource: "status",
        api_version: version,
        time: &api.now(),
        force: true,
        reset_fields: &[],
    });
    if let Ok(mut new) = result {
        // Whoever changed it meanwhile is followed next.
        let _done = api.store.put(
            &collection,
            &stored.key,
            Expect::Version(stored.version),
            &mut new,
        );
    }
}

/// The kinds that rules name without wildcards.
fn kinds(api: &Api, spec: &Value) -> Vec<std::sync::Arc<Kind>> {
    let known = api.kinds();
    let mut found: Vec<std::sync::Arc<Kind>> = vec![];
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().into_iter().flatten();
        list.filter_map(|own| own.as_str().map(str::to_owned)).collect()
    };
    for rule in spec["matchConstraints"]["resourceRules"]
        .as_array()
        .into_iter()
        .flatten()
    {
        for group in texts(rule, "apiGroups") {
            for version in texts(rule, "apiVersions") {
                for resource in texts(rule, "resources") {
                    if let Some(kind) = known.find(&group, &version, &resource)
                        && found.len() < KINDS
                        && !found.iter().any(|own| std::sync::Arc::ptr_eq(own, kind))
                    {
                        found.push(kind.clone());
                    }
                }
            }
        }
    }
    found.sort_by(|a, b| (&a.group, &a.version, &a.kind).cmp(&(&b.group, &b.version, &b.kind)));
    found
}

fn warnings(api: &Api, spec: &Value) -> Vec<Value> {
    let kinds = kinds(api, spec);
    let mut all = vec![];
    let validations = spec["validations"].as_array().into_iter().flatten();
    for (index, validation) in validations.enumerate() {
        for field in ["expression", "messageExpression"] {
            let Some(source) = validation[field].as_str().filter(|source| !source.is_empty()) else {
                continue;
            };
            let found: Vec<String> = kinds
                .iter()
                .filter_map(|kind| {
                    let error = Program::compile(source, &env(api, spec, kind)?).err()?;
                    let (group, version) = (&kind.group, &kind.version);
                    Some(format!("{group}/{version}, Kind={}: {error}\n", kind.kind))
                })
                .collect();
            if !found.is_empty() {
                all.push(json!({"fieldRef": format!("spec.validations[{index}].{field}"),
                    "warning": found.concat()}));
            }
        }
    }
    all
}

/// The environment in which a kind's objects have their types.
fn env(api: &Api, spec: &Value, kind: &Kind) -> Option<Env> {
    let types = kind.types(&api.schemas)?;
    let name = format!("{}.{}", kind.group, kind.kind);
    let object = Type::of_schema(&types, &name)?;
    let mut fields = std::collections::BTreeMap::new();
    let base = || {
        Env::admission(spec["paramKind"].is_object())
            .authorizer()
            .variable("object", object.clone())
            .variable("oldObject", object.clone())
    };
    for variable in spec["variables"].as_array().into_iter().flatten() {
        let source = variable["expression"].as_str().unwrap_or("");
        let output = Program::compile(source, &base().variables(fields.clone()))
            .map_or(Type::Dyn, |program| program.output().clone());
        fields.insert(variable["name"].as_str().unwrap_or("").to_owned(), output);
    }
    Some(base().variables(fields))
}
