//! How versions are stored: what is too large, what others have touched, and how many writes a release costs.

use fluvial_helm::release::{Status, read_object, to_object};
use serde_json::{Value, json};

use crate::helm_releases::{hr, ready, release, serve, serve_as, states, stored};
use crate::world::{World, condition, git_repository, message, url};

/// Text that does not pack well.
fn noise(length: usize) -> String {
    let mut text = String::new();
    let mut state = 7_u64;
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.push_str(&format!("{state:x}"));
    }
    text
}

async fn parts(world: &World) -> usize {
    let secrets = world.list("v1", "Secret").await;
    let is_part = |secret: &&Value| secret["type"] == "fluvial.dev/release-part.v1";
    secrets.iter().filter(is_part).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_too_large_is_refused_and_split_when_asked() {
    let mut world = World::new().await;
    // Files that no object holds are part of a stored chart all the same.
    let large = noise(1_800_000);
    serve_as(
        &world,
        "app",
        &[
            ("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n"),
            ("app/large.txt", &large),
            (
                "app/templates/config.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-config}\ndata: {size: {{ .Values.size | quote }}}\n",
            ),
        ],
    )
    .await;
    world
        .create(release("web", json!({"values": {"size": "1"}})))
        .await;
    let of = hr("web");
    let failed = world.condition(&of, "Ready", "False", "InstallFailed").await;
    assert!(
        message(&failed).contains("one object holds 1048576") && message(&failed).contains("split-storage"),
        "{}",
        message(&failed)
    );
    assert!(
        world
            .get("v1", "ConfigMap", "default", "web-config")
            .await
            .is_none()
    );
    let asked = json!({"metadata": {"annotations": {"fluvial.dev/split-storage": "enabled",
        "reconcile.fluxcd.io/requestedAt": "now"}}});
    world.patch(&of, asked).await;
    ready(&world, "web", "InstallSucceeded").await;
    let each = parts(&world).await;
    assert!(each >= 1, "{each}");
    world.patch(&of, json!({"spec": {"values": {"size": "2"}}})).await;
    ready(&world, "web", "UpgradeSucceeded").await;
    // Nothing of what was pending is left.
    assert_eq!(parts(&world).await, 2 * each);
    world.quiet().await;
    let writes = world.writes();
    world.request(&of, "again").await;
    world.quiet().await;
    assert_eq!(world.writes() - writes, 1, "only the request is taken down");
    world.delete(&of).await;
    world.gone(&of).await;
    assert_eq!(parts(&world).await, 0);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_somebody_touched_is_upgraded_and_kept_names_are_only_replaced_when_asked() {
    let mut world = World::new().await;
    serve(&world).await;
    let spec = json!({"values": {"size": 1}, "uninstall": {"keepHistory": true}});
    world.create(release("web", spec.clone())).await;
    ready(&world, "web", "InstallSucceeded").await;
    let secret = ["v1", "Secret", "default", "sh.helm.release.v1.web.v1"];
    let object = world
        .get(secret[0], secret[1], secret[2], secret[3])
        .await
        .unwrap();
    let mut touched = read_object(&object).unwrap();
    assert!(!touched.made_for.is_empty());
    touched.info.description = "somebody was here".to_owned();
    let other = to_object(
        &touched,
        fluvial_helm::release::Driver::Secret,
        "default",
        ("modifiedAt", 1),
    )
    .unwrap();
    world.patch(&secret, json!({"data": other["data"]})).await;
    world.request(&hr("web"), "look").await;
    ready(&world, "web", "UpgradeSucceeded").await;
    assert_eq!(
        states(&stored(&world, "web").await),
        [(1, "superseded"), (2, "deployed")]
    );

    world.delete(&hr("web")).await;
    world.gone(&hr("web")).await;
    let versions = stored(&world, "web").await;
    assert_eq!(versions.last().unwrap().info.status, Status::Uninstalled);
    world.create(release("web", spec)).await;
    let failed = world
        .condition(&hr("web"), "Ready", "False", "InstallFailed")
        .await;
    assert!(
        message(&failed).contains("cannot re-use a name that is still in use"),
        "{}",
        message(&failed)
    );
    world
        .patch(&hr("web"), json!({"spec": {"install": {"replace": true}}}))
        .await;
    ready(&world, "web", "InstallSucceeded").await;
    assert_eq!(
        states(&stored(&world, "web").await),
        [(1, "superseded"), (2, "superseded"), (3, "deployed")]
    );
    world.stop().await;
}

/// What Flux writes 32 times.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_release_costs_at_most_twelve_writes_and_none_when_nothing_changed() {
    const COUNT: u64 = 10;
    let mut world = World::new().await;
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n---\n\
        apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: {{ .Release.Name }}}\n---\n\
        apiVersion: v1\nkind: Service\nmetadata: {name: {{ .Release.Name }}}\nspec: {ports: [{port: 80}]}\n";
    world.fakes.repositories.commit(
        &url("charts"),
        crate::fakes::tree(&[
            ("app/Chart.yaml", "apiVersion: v2\nname: app\nversion: 1.0.0\n"),
            ("app/templates/all.yaml", template),
        ]),
    );
    world.create(git_repository("charts")).await;
    world
        .condition(&crate::world::repository("charts"), "Ready", "True", "Succeeded")
        .await;
    world.quiet().await;
    let metrics = std::sync::Arc::clone(&world.controllers().metrics);
    let all = || {
        let kinds = ["object", "status", "finalizer", "release", "event"];
        kinds.map(|what| (what, metrics.writes(what)))
    };
    let before = all();
    for number in 0..COUNT {
        let mut object = release(&format!("web{number}"), json!({}));
        object["spec"]["chartRef"] = Value::Null;
        object["spec"]["chart"] =
            json!({"spec": {"chart": "./app", "sourceRef": {"kind": "GitRepository", "name": "charts"}}});
        world.create(object).await;
    }
    for number in 0..COUNT {
        ready(&world, &format!("web{number}"), "InstallSucceeded").await;
    }
    world.quiet().await;
    let after = all();
    let spent: Vec<(&str, u64)> = before
        .iter()
        .zip(&after)
        .map(|((what, before), (_, after))| (*what, after - before))
        .collect();
    let total: u64 = spent.iter().map(|(_, count)| count).sum();
    eprintln!("{total} writes for {COUNT} releases of three objects: {spent:?}");
    assert!(total <= 12 * COUNT, "{spent:?}");
    // A look without news writes nothing, but that it has been asked for.
    let before = world.writes();
    world.request(&hr("web0"), "look").await;
    world.quiet().await;
    assert_eq!(world.writes() - before, 1);
    assert!(
        condition(
            &world
                .get("helm.toolkit.fluxcd.io/v2", "HelmRelease", "default", "web0")
                .await
                .unwrap(),
            "Ready"
        )
        .is_some()
    );
    world.stop().await;
}

/// Waits until a version is deployed and all that goes with it is told.
async fn deployed(world: &World, version: i64) {
    let is_it = |object: Option<&Value>| {
        object.is_some_and(|object| {
            let latest = &object["status"]["history"][0];
            latest["version"] == version
                && condition(object, "Ready").is_some_and(|ready| ready["status"] == "True")
        })
    };
    world
        .until(&hr("web"), &format!("at version {version}"), is_it)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_versions_are_kept_than_asked_for_and_the_deployed_one_always() {
    let mut world = World::new().await;
    serve(&world).await;
    let of = hr("web");
    let values =
        |size: i64, outcome: &str| json!({"size": size, "outcome": outcome, "web": format!("v{size}")});
    world
        .create(release(
            "web",
            json!({"maxHistory": 2, "values": values(1, "healthy")}),
        ))
        .await;
    ready(&world, "web", "InstallSucceeded").await;
    for size in 2..=4 {
        world
            .patch(&of, json!({"spec": {"values": values(size, "healthy")}}))
            .await;
        deployed(&world, size).await;
        let versions = stored(&world, "web").await;
        assert_eq!(
            states(&versions),
            [(size - 1, "superseded"), (size, "deployed")],
            "after {size}"
        );
    }
    let history = world.get(of[0], of[1], of[2], of[3]).await.unwrap()["status"]["history"].clone();
    let told: Vec<i64> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|snapshot| snapshot["version"].as_i64().unwrap())
        .collect();
    assert_eq!(told, [4, 3]);

    // With room for one only, a failure does not push out what a rollback would need.
    let failing = json!({"spec": {"maxHistory": 1, "timeout": "1s", "values": values(5, "pending"),
        "upgrade": {"strategy": {"name": "RetryOnFailure", "retryInterval": "1h"}}}});
    world.patch(&of, failing).await;
    world.condition(&of, "Ready", "False", "UpgradeFailed").await;
    assert_eq!(
        states(&stored(&world, "web").await),
        [(4, "deployed"), (5, "failed")]
    );
    world
        .patch(
            &of,
            json!({"spec": {"timeout": "30s", "values": values(6, "healthy")}}),
        )
        .await;
    deployed(&world, 6).await;
    let kept = stored(&world, "web").await;
    assert_eq!(states(&kept).last(), Some(&(6, "deployed")));
    assert!(kept.len() <= 2, "{:?}", states(&kept));
    world.stop().await;
}
