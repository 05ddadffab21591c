//! The variables of admission policies, with their types.

use std::collections::BTreeMap;

use super::Env;
use super::types::Type;

fn record(name: &str, fields: &[(&str, Type)]) -> Type {
    let fields = fields
        .iter()
        .map(|(name, kind)| ((*name).to_owned(), kind.clone()));
    Type::record(name, fields.collect::<BTreeMap<_, _>>())
}

fn texts(name: &str, fields: &[&str]) -> Type {
    let fields: Vec<(&str, Type)> = fields.iter().map(|field| (*field, Type::String)).collect();
    record(name, &fields)
}

/// The request as policies see it.
fn request() -> Type {
    let kind = texts("kubernetes.GroupVersionKind", &["group", "version", "kind"]);
    let resource = texts(
        "kubernetes.GroupVersionResource",
        &["group", "version", "resource"],
    );
    let user = record(
        "kubernetes.UserInfo",
        &[
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    record(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

/// The namespace of the object.
fn namespace() -> Type {
    let map = || Type::map(Type::String, Type::String);
    let metadata = record(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", map()),
            ("annotations", map()),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", Type::list(Type::String)),
        ],
    );
    let spec = record(
        "kubernetes.NamespaceSpec",
        &[("finalizers", Type::list(Type::String))],
    );
    let status = record("kubernetes.NamespaceStatus", &[("phase", Type::String)]);
    record(
        "kubernetes.Namespace",
        &[("metadata", metadata), ("spec", spec), ("status", status)],
    )
}

impl Env {
    /// What validations, mutations, match conditions and audit annotations of admission policies may
    /// use: `object`, `oldObject`, `request`, `namespaceObject`, and `params` if the policy has some.
    /// Values are given by these names; `variables` are added with [`Env::variables`].
    #[must_use]
    pub fn admission(params: bool) -> Env {
        let env = Env::kubernetes()
            .variable("object", Type::Dyn)
            .variable("oldObject", Type::Dyn)
            .variable("request", request())
            .variable("namespaceObject", namespace());
        if params {
            env.variable("params", Type::Dyn)
        } else {
            env
        }
    }

    /// What mutations may use beside that: the types `Object` (with all that is below it) and `JSONPatch`.
    #[must_use]
    pub fn mutation(params: bool) -> Env {
        let patch = record(
            "JSONPatch",
            &[
                ("op", Type::String),
                ("path", Type::String),
                ("from", Type::String),
                ("value", Type::Dyn),
            ],
        );
        Env::admission(params)
            .variable("Object", Type::record("Object", BTreeMap::new()))
            .variable("JSONPatch", patch)
    }

    /// With the `variables` of a policy: each name with the type of its expression, in order.
    /// Their values are given as `variables.NAME`.
    #[must_use]
    pub fn variables(self, fields: BTreeMap<String, Type>) -> Env {
        self.variable("variables", Type::record("kubernetes.variables", fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Decision, Error, Program, Question, Value, Vars};
    use super::*;

    fn compile(source: &str) -> Result<Program, String> {
        let fields = [("replicas".to_owned(), Type::Int)].into();
        let env = Env::admission(true).variables(fields).authorizer();
        Program::compile(source, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn policies_see_the_request_and_their_variables() {
        let object = json!({"spec": {"replicas": 7}});
        let request = json!({"operation": "CREATE", "userInfo": {"username": "jane", "groups": ["dev"]}});
        let mut vars = Vars::default()
            .with("object", Value::json(&object))
            .with("request", Value::json(&request));
        vars.set("variables.replicas", Ok(Value::Int(7)));
        let source = "variables.replicas <= 5 || 'admin' in request.userInfo.groups";
        let program = compile(source).expect("it compiles");
        assert_eq!(program.eval(&vars).map(|value| value.as_bool()), Ok(Some(false)));
        vars.set("variables.replicas", Err(Error::new("no such key: x")));
        let error = program
            .eval(&vars)
            .expect_err("admins are none, and the variable failed");
        assert_eq!(error.to_string(), "no such key: x");
        let unknown = compile("request.nope == ''").expect_err("no such field");
        assert!(unknown.contains("undefined field 'nope'"), "{unknown}");
    }

    #[test]
    fn mutations_make_objects_and_patches() {
        let compile =
            |source: &str| Program::compile(source, &Env::mutation(false)).map_err(|error| error.to_string());
        let source = "Object{metadata: Object.metadata{labels: {'a': object.kind}}, ?spec: optional.none()}";
        let program = compile(source).expect("it compiles");
        assert_eq!(program.output().to_string(), "Object");
        let object = json!({"kind": "Pod"});
        let vars = Vars::default().with("object", Value::json(&object));
        let made = program.eval(&vars).expect("it has a value").to_json();
        assert_eq!(made, Some(json!({"metadata": {"labels": {"a": "Pod"}}})));
        let program =
            compile("[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('a/b'), value: 1}]");
        let program = program.expect("it compiles");
        assert_eq!(program.output().to_string(), "list(JSONPatch)");
        let made = program.eval(&vars).expect("it has a value").to_json();
        assert_eq!(
            made,
            Some(json!([{"op": "add", "path": "/data/a~1b", "value": 1}]))
        );
        let wrong = compile("Object{metadata: Object.spec{}}").expect_err("another type");
        assert!(wrong.contains("but provided type is 'Object.spec'"), "{wrong}");
        let wrong = compile("JSONPatch{ops: 'add'}").expect_err("no such field");
        assert!(wrong.contains("undefined field 'ops'"), "{wrong}");
        let source = "Other{}";
        assert!(
            compile(source)
                .expect_err("no such type")
                .contains("undeclared reference to 'Other'")
        );
    }

    #[test]
    fn policies_may_ask_the_authorizer() {
        #[derive(Debug)]
        struct OnlyGet;
        impl super::super::Authorizer for OnlyGet {
            fn decide(&self, question: &Question) -> Decision {
                Decision {
                    allowed: question.verb == "get" && question.resource == "pods",
                    reason: question.namespace.clone(),
                    error: None,
                }
            }
        }
        let source = "authorizer.group('').resource('pods').namespace('ns').check('get').allowed() && !authorizer.path('/x').check('get').allowed()";
        let program = compile(source).expect("it compiles");
        let question = Question {
            resource: "pods".to_owned(),
            ..Question::default()
        };
        let vars = Vars::default()
            .with("authorizer", Value::authorizer(&OnlyGet))
            .with(
                "authorizer.requestResource",
                Value::request_resource(&OnlyGet, question),
            );
        let own = compile("authorizer.requestResource.check('get').allowed()").expect("it compiles");
        assert_eq!(own.eval(&vars).map(|value| value.as_bool()), Ok(Some(true)));
        assert_eq!(program.eval(&vars).map(|value| value.as_bool()), Ok(Some(true)));
    }
}
