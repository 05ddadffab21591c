//! Tables of who keeps what from being deleted.

use serde_json::json;

use super::*;

fn us() -> Owner {
    Owner::new("flux-system", "us")
}

fn them() -> Owner {
    Owner::new("flux-system", "them")
}

fn config_map(name: &str) -> ObjectId {
    ObjectId::new("", "ConfigMap", "ns", name)
}

fn namespace(name: &str) -> ObjectId {
    ObjectId::new("", "Namespace", "", name)
}

fn definition() -> ObjectId {
    ObjectId::new(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "",
        "widgets.x.y",
    )
}

fn live(id: &ObjectId, owner: Option<&Owner>) -> Value {
    let mut object = json!({"kind": id.kind, "metadata": {"name": id.name, "namespace": id.namespace,
        "uid": format!("u-{}", id.name), "resourceVersion": "5"}});
    if let Some(owner) = owner {
        owner.label(&mut object);
    }
    if claims::is_definition(id) {
        object["spec"] = json!({"group": "x.y", "names": {"kind": "Widget"}});
    }
    object
}

fn entries(ids: &[ObjectId]) -> Vec<Entry> {
    let entry = |id: &ObjectId| Entry {
        id: id.clone(),
        version: "v1".to_owned(),
    };
    ids.iter().map(entry).collect()
}

struct Table {
    candidates: Vec<ObjectId>,
    live: Vec<(ObjectId, Value)>,
    claims: Vec<(Owner, ObjectId)>,
    unsure: bool,
    prune: bool,
    patient: bool,
}

impl Table {
    fn of(candidates: &[ObjectId]) -> Self {
        Table {
            candidates: candidates.to_vec(),
            live: candidates
                .iter()
                .map(|id| (id.clone(), live(id, Some(&us()))))
                .collect(),
            claims: vec![],
            unsure: false,
            prune: true,
            patient: true,
        }
    }

    fn plan(&self) -> Plan {
        let candidates = entries(&self.candidates);
        let mut claims = Claims::about(&candidates);
        for (owner, id) in &self.claims {
            claims.want(owner, [id]);
        }
        if self.unsure {
            claims.unsure(&them(), |text| text == "a");
        }
        let owner = us();
        let applied = ["u-renamed".to_owned()].into_iter().collect();
        let rules = Rules {
            owner: &owner,
            prune: self.prune,
            claims: &claims,
            applied: &applied,
            patient: self.patient,
        };
        let seen = |entry: &Entry| match self.live.iter().find(|(id, _)| *id == entry.id) {
            Some((_, Value::String(why))) => Seen::Unreadable(why),
            Some((_, live)) => Seen::There(live),
            None => Seen::Absent,
        };
        plan(candidates, seen, &rules)
    }

    fn told(&self) -> Vec<String> {
        let tell = |(entry, fate): &(Entry, Fate)| {
            let fate = match fate {
                Fate::Delete(deletion) => format!("delete {}", deletion.uid),
                Fate::Hold(hold) => format!("hold: {hold}"),
                Fate::Release(release) => format!("release: {release}"),
                other => format!("{other:?}"),
            };
            format!("{} {fate}", entry.id.name)
        };
        self.plan().fates.iter().map(tell).collect()
    }

    fn one(&self) -> String {
        self.told().remove(0)
    }
}

#[test]
fn an_object_goes_only_if_it_is_ours_and_nobody_wants_it() {
    let mut table = Table::of(&[config_map("a")]);
    assert_eq!(table.one(), "a delete u-a");

    table.live[0].1 = live(&config_map("a"), Some(&them()));
    assert_eq!(
        table.one(),
        "a release: handed over to Kustomization/flux-system/them"
    );
    table.live[0].1 = live(&config_map("a"), None);
    assert_eq!(
        table.one(),
        "a release: left in the cluster because it carries no owner labels"
    );
    table.live[0].1 = json!("connection refused");
    assert_eq!(table.one(), "a hold: query failed: connection refused");
    table.live.clear();
    assert_eq!(table.one(), "a Gone");
}

#[test]
fn labels_that_name_half_of_us_are_not_ours() {
    for (key, value) in [
        (control::OWNER_NAME, "us"),
        (control::OWNER_NAMESPACE, "flux-system"),
    ] {
        let mut table = Table::of(&[config_map("a")]);
        table.live[0].1 = live(&config_map("a"), None);
        table.live[0].1.set_label(key, value);
        assert!(table.one().starts_with("a release:"), "{key}");
    }
}

#[test]
fn an_object_that_asks_to_be_kept_is_kept() {
    for (key, value) in [
        (control::PRUNE, "disabled"),
        (control::RECONCILE, "Disabled"),
        (control::SSA, "ignore"),
    ] {
        for annotate in [true, false] {
            let mut table = Table::of(&[config_map("a")]);
            if annotate {
                table.live[0].1.set_annotation(key, value);
            } else {
                table.live[0].1.set_label(key, value);
            }
            assert_eq!(
                table.one(),
                "a release: left in the cluster, as its labels or annotations ask for"
            );
        }
    }
}

#[test]
fn without_pruning_nothing_is_even_read() {
    let mut table = Table::of(&[config_map("a")]);
    table.prune = false;
    table.live[0].1 = json!("unreadable");
    assert_eq!(
        table.one(),
        "a release: left in the cluster because spec.prune is off"
    );
}

#[test]
fn what_another_wants_waits_until_it_has_taken_it_over() {
    let mut table = Table::of(&[config_map("a")]);
    table.claims = vec![(them(), config_map("a"))];
    assert_eq!(
        table.one(),
        "a hold: kept until Kustomization/flux-system/them takes it over"
    );
    table.patient = false;
    assert_eq!(
        table.one(),
        "a release: left in the cluster for Kustomization/flux-system/them"
    );
    // Taken over, whatever it claims.
    table.live[0].1 = live(&config_map("a"), Some(&them()));
    assert!(table.one().starts_with("a release: handed over"));
}

#[test]
fn a_build_that_fails_keeps_what_it_mentions() {
    let mut table = Table::of(&[config_map("a"), config_map("b")]);
    table.unsure = true;
    assert_eq!(
        table.told(),
        [
            "b delete u-b",
            "a hold: kept because Kustomization/flux-system/them may want it and cannot be built"
        ]
    );
}

#[test]
fn a_namespace_stays_while_something_in_it_is_wanted() {
    let mut table = Table::of(&[namespace("ns")]);
    table.claims = vec![(them(), config_map("x"))];
    assert_eq!(
        table.one(),
        "ns hold: kept because ConfigMap/ns/x of Kustomization/flux-system/them needs it; remove that first"
    );
    table.claims = vec![(us(), config_map("x"))];
    assert!(table.one().starts_with("ns hold:"));
    table.claims = vec![(them(), ObjectId::new("", "ConfigMap", "other", "x"))];
    assert_eq!(table.one(), "ns delete u-ns");
}

#[test]
fn a_namespace_stays_with_what_stays_in_it() {
    let mut table = Table::of(&[namespace("ns"), config_map("a"), config_map("b")]);
    assert_eq!(table.told(), ["b delete u-b", "a delete u-a", "ns delete u-ns"]);
    table.live[1].1.set_annotation(control::PRUNE, "disabled");
    assert_eq!(
        table.told()[2],
        "ns release: left in the cluster because ConfigMap/ns/a asks to be kept"
    );
    let mut table = Table::of(&[namespace("ns"), config_map("a")]);
    table.unsure = true;
    assert!(table.told()[1].starts_with("ns hold:"), "{:?}", table.told());
}

#[test]
fn a_definition_stays_while_an_object_of_it_is_wanted() {
    let widget = ObjectId::new("x.y", "Widget", "ns", "w");
    let mut table = Table::of(&[definition()]);
    table.claims = vec![(them(), widget.clone())];
    assert!(table.one().starts_with("widgets.x.y hold:"), "{}", table.one());
    table.claims = vec![(them(), ObjectId::new("x.y", "Gadget", "ns", "g"))];
    assert!(table.one().starts_with("widgets.x.y delete"));

    let mut table = Table::of(&[definition(), widget]);
    table.live[1].1.set_label(control::PRUNE, "disabled");
    assert!(table.told()[1].starts_with("widgets.x.y release:"));
}

#[test]
fn one_object_under_two_groups_is_not_deleted_as_the_old_one() {
    let table = Table::of(&[ObjectId::new("extensions", "Ingress", "ns", "renamed")]);
    assert_eq!(table.one(), "renamed release: wanted under another API group");
}

#[test]
fn an_object_on_its_way_out_is_not_deleted_again() {
    let mut table = Table::of(&[config_map("a")]);
    table.live[0].1["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert_eq!(table.one(), "a Terminating");
}

#[test]
fn an_object_without_a_uid_cannot_be_told_from_another() {
    let mut table = Table::of(&[config_map("a")]);
    table.live[0].1["metadata"]["uid"] = json!("");
    assert_eq!(table.one(), "a hold: query failed: the object has no UID");
}

#[test]
fn held_and_failed_objects_stay_on_record() {
    let mut table = Table::of(&[config_map("a"), config_map("b"), config_map("c"), config_map("d")]);
    table.claims = vec![(them(), config_map("b"))];
    table.live[3].1 = live(&config_map("d"), Some(&them()));
    let plan = table.plan();
    let failed = |id: &ObjectId| id.name == "c";
    let wanted: Inventory = entries(&[config_map("w")]).into_iter().collect();
    let names: Vec<_> = plan
        .inventory(&wanted, failed)
        .ids()
        .map(|id| id.name.clone())
        .collect();
    assert_eq!(names, ["w", "b", "c"]);
    let changes: Vec<_> = plan.changes(failed).iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["ConfigMap/ns/a deleted"]);
    assert_eq!(plan.held().count(), 1);
}

#[test]
fn the_answer_to_a_deletion_says_what_is_next() {
    let refused = |code, reason: &str| after_delete(Err(Refusal::new(code, reason, "x")));
    assert_eq!(after_delete(Ok(())), Deleted::Done);
    assert_eq!(refused(404, "NotFound"), Deleted::Done);
    assert_eq!(refused(409, "Conflict"), Deleted::LookAgain);
    assert!(matches!(refused(403, "Forbidden"), Deleted::Failed(_)));
    let id = config_map("a");
    assert_eq!(error_text([]), None);
    assert_eq!(
        error_text([(&id, "no")]).as_deref(),
        Some("delete failed, errors: ConfigMap/ns/a delete failed: no")
    );
}
