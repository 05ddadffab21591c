use std::collections::BTreeMap;

use serde_json::json;

use super::*;

fn stored(version: i64, status: Status) -> Stored {
    Stored {
        name: "web".to_owned(),
        namespace: "apps".to_owned(),
        version,
        info: Info {
            first_deployed: "2026-01-01T10:00:00.5Z".to_owned(),
            last_deployed: "2026-01-02T10:00:00Z".to_owned(),
            status,
            description: "Install complete".to_owned(),
            ..Info::default()
        },
        chart: json!({"metadata": {"name": "podinfo", "version": "6.5.3", "apiVersion": "v2", "appVersion": "6"}, "values": {}}),
        config: json!({"replicas": 2, "html": "<b>"}).as_object().cloned(),
        manifest:
            "---\n# Source: podinfo/templates/a.yaml\nkind: ConfigMap\napiVersion: v1\nmetadata:\n  name: a\n"
                .to_owned(),
        hooks: vec![StoredHook {
            name: "t".to_owned(),
            kind: "Pod".to_owned(),
            events: vec!["test".to_owned()],
            ..StoredHook::default()
        }],
        apply_method: "ssa".to_owned(),
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
        made_for: "uid".to_owned(),
    }
}

#[test]
fn both_drivers_give_back_what_they_got() {
    let release = stored(3, Status::Deployed);
    for driver in [Driver::Secret, Driver::ConfigMap] {
        let object = to_object(&release, driver, "store", ("createdAt", 17)).unwrap();
        assert_eq!(object["kind"], driver.kind());
        assert_eq!(object["metadata"]["name"], "sh.helm.release.v1.web.v3");
        assert_eq!(
            object["metadata"]["labels"],
            json!({"name": "web", "owner": "helm", "status": "deployed", "version": "3", "createdAt": "17", "team": "a"})
        );
        assert_eq!(read_object(&object).unwrap(), release);
        // Somebody has changed the text, and left the note of who made it.
        let other = to_object(&stored(3, Status::Failed), driver, "store", ("createdAt", 17)).unwrap();
        let mut touched = object;
        touched["data"] = other["data"].clone();
        assert_eq!(read_object(&touched).unwrap().made_for, "");
    }
}

#[test]
fn what_helm_3_wrote_is_read() {
    let text = r#"{"name":"web","info":{"first_deployed":"2024-05-01T10:00:00.123456789+02:00","last_deployed":"2024-05-01T10:00:00+02:00",
        "deleted":"","description":"x","status":"superseded"},"chart":{"metadata":{"name":"c","version":"1"},"lock":null,"templates":null,
        "values":null,"schema":null,"files":null},"hooks":[{"name":"h","events":["pre-install"],"last_run":{"started_at":"","completed_at":"","phase":""},
        "delete_policies":null}],"version":4,"namespace":"ns"}"#;
    use base64::Engine;
    let plain = base64::engine::general_purpose::STANDARD.encode(text);
    let release = decode(&plain).unwrap();
    assert_eq!((release.version, release.info.status), (4, Status::Superseded));
    assert!(!release.is_server_side());
    assert!(release.hooks[0].is_for("pre-install"));
    assert!(release.config.is_none());
    assert!(
        decode("bm90IGEgcmVsZWFzZQ==")
            .unwrap_err()
            .to_string()
            .contains("no release")
    );
    assert!(decode("!").unwrap_err().to_string().contains("base64"));
}

#[test]
fn a_digest_knows_its_release_and_does_not_look_at_tests() {
    let release = stored(1, Status::Deployed);
    let digest = observation_digest(&release, "");
    let mut tested = release.clone();
    tested.hooks[0].last_run.phase = "Succeeded".to_owned();
    assert_eq!(observation_digest(&tested, ""), digest);
    assert!(Forms::of(&release, "").include(&digest));
    let mut other = release;
    other.info.status = Status::Failed;
    assert_ne!(observation_digest(&other, ""), digest);
    assert!(!Forms::of(&other, "").include(&digest));
}

#[test]
fn no_values_have_the_digest_of_nothing() {
    assert_eq!(
        config_digest(&json!({})),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_ne!(config_digest(&json!({"a": 1})), config_digest(&json!({"a": 2})));
}

#[test]
fn old_versions_are_forgotten_and_the_deployed_one_stays() {
    let history = |states: &[Status]| {
        let versions = states
            .iter()
            .zip(1..)
            .map(|(status, version)| stored(version, *status));
        let mut versions: Vec<Stored> = versions.collect();
        versions.reverse();
        History::new(versions)
    };
    let five = history(&[
        Status::Superseded,
        Status::Deployed,
        Status::Failed,
        Status::Failed,
        Status::Failed,
    ]);
    assert_eq!(five.next_version(), 6);
    assert_eq!(five.current().unwrap().version, 2);
    assert_eq!(to_forget(&five, 5), [1]);
    assert_eq!(to_forget(&five, 3), [1, 3, 4]);
    assert_eq!(to_forget(&five, 0), Vec::<i64>::new());
    assert_eq!(to_forget(&five, 10), Vec::<i64>::new());
    assert_eq!(History::default().next_version(), 1);
}

#[test]
fn hooks_run_by_weight_and_lists_are_taken_apart() {
    let hook = |name: &str, weight, event: &str| StoredHook {
        name: name.to_owned(),
        weight,
        events: vec![event.to_owned()],
        ..StoredHook::default()
    };
    let hooks = [
        hook("c", 5, "pre-install"),
        hook("a", -1, "pre-install"),
        hook("x", -9, "test"),
        hook("b", 0, "pre-install"),
    ];
    let names: Vec<&str> = hooks_of(&hooks, Phase::PreInstall)
        .into_iter()
        .map(|position| hooks[position].name.as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    let manifest = manifest_of([
        (
            "c/l.yaml",
            "kind: ConfigMapList\napiVersion: v1\nitems:\n- kind: ConfigMap\n  apiVersion: v1\n  metadata: {name: one}\n",
        ),
        (
            "c/k.yaml",
            "kind: Secret\napiVersion: v1\nmetadata:\n  name: two\n  annotations: {helm.sh/resource-policy: keep}\n",
        ),
    ]);
    let mut objects = objects_of(&manifest).unwrap();
    assert_eq!(objects[0].source, "c/l.yaml");
    assert_eq!(
        (objects[0].kind(), objects[1].kind(), objects[1].is_kept()),
        ("ConfigMap", "Secret", true)
    );
    uninstall_order(&mut objects);
    assert_eq!(objects[0].kind(), "ConfigMap");
}

#[test]
fn a_chart_is_recorded_as_helm_does() {
    let mut metadata = crate::Metadata::default();
    metadata.name = "c".to_owned();
    metadata.version = "1.0.0".to_owned();
    metadata.api_version = "v2".to_owned();
    metadata.kube_version = ">=1.2".to_owned();
    metadata.dependencies = vec![crate::Dependency {
        name: "d".to_owned(),
        enabled: true,
        ..crate::Dependency::default()
    }];
    assert_eq!(
        record_metadata(&metadata, "1.0.0+abc"),
        json!({"name": "c", "version": "1.0.0+abc", "apiVersion": "v2", "kubeVersion": ">=1.2",
            "dependencies": [{"name": "d", "repository": "", "enabled": true}]})
    );
}
