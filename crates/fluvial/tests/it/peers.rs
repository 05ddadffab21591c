//! Beside the released tools, on inputs of our own: what kustomize and helm print, byte by byte, and what sops encrypts.
//! `cargo xtask tier peers` runs this with programs that `cargo xtask peers` builds.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cluster::{PROGRAM, Tool, peers};
use crate::fleet::Fleet;
use crate::made::{self, Owner};

fn tools(peer: &Path, home: &Path) -> [Tool; 2] {
    let nothing = home.join("no.kubeconfig");
    [
        Tool::new(Path::new(PROGRAM), &nothing, home),
        Tool::new(peer, &nothing, home),
    ]
}

/// Fails with the first line that differs.
#[track_caller]
fn same(what: &str, ours: &str, theirs: &str) {
    for (number, (own, other)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(own, other, "{what}, line {}", number + 1);
    }
    assert!(ours == theirs, "{what}: one output goes on");
    assert!(!theirs.is_empty(), "{what}: nothing to compare");
}

#[test]
#[ignore = "needs kustomize: cargo xtask tier peers"]
fn kustomize_prints_the_same_for_the_example_fleet() {
    let Some([kustomize]) = peers("kustomize beside ours", ["kustomize"]) else {
        return;
    };
    let fleet = Fleet::new();
    let [ours, theirs] = tools(&kustomize, &fleet.repository());
    for path in [
        "apps/base/kiosk",
        "apps/base/orders",
        "apps/demo/kiosk",
        "apps/demo/orders",
        "apps/prod/kiosk",
        "apps/prod/orders",
        "infrastructure/broker",
    ] {
        let own = ours.says(&format!("kustomize build {path}"));
        same(path, &own, &theirs.says(&format!("build {path}")));
    }
}

/// A chart with what templates are used for: helpers, loops, files, other templates' output, lookups that find nothing.
fn chart(folder: &Path) {
    for (file, text) in [
        (
            "Chart.yaml",
            "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: '7'\n",
        ),
        (
            "values.yaml",
            "teas: [assam, sencha]\nport: 8080\nratio: 0.5\nlimits: {cpu: 100m, memory: 1Gi}\nextra: {}\nname: ''\n",
        ),
        ("files/menu.txt", "assam\nsencha\n"),
        (
            "templates/_helpers.tpl",
            "{{- define \"shop.name\" -}}\n{{ default .Chart.Name .Values.name | trunc 63 | trimSuffix \"-\" }}\n{{- end }}\n\
             {{- define \"shop.labels\" -}}\nhelm.sh/chart: {{ printf \"%s-%s\" .Chart.Name .Chart.Version | quote }}\n\
             app: {{ include \"shop.name\" . }}\n{{- with .Values.extra }}\n{{ toYaml . }}\n{{- end }}\n{{- end }}\n",
        ),
        (
            "templates/config.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"shop.name\" . }}\n  labels:\n    \
             {{- include \"shop.labels\" . | nindent 4 }}\ndata:\n  {{- range $at, $tea := .Values.teas }}\n  tea-{{ $at }}: {{ $tea | title | quote }}\n  \
             {{- end }}\n  menu: |-\n    {{- .Files.Get \"files/menu.txt\" | nindent 4 }}\n  json: {{ toJson .Values | quote }}\n  \
             sum: {{ sha256sum (toYaml .Values) }}\n  ratio: {{ mulf .Values.ratio 3 }}\n  old: {{ lookup \"v1\" \"Secret\" .Release.Namespace \"x\" | empty }}\n",
        ),
        (
            "templates/deployment.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ include \"shop.name\" . }}\nspec:\n  template:\n    metadata:\n      \
             annotations:\n        config: {{ include (print $.Template.BasePath \"/config.yaml\") . | sha256sum }}\n    spec:\n      containers:\n      \
             - name: shop\n        ports: [{containerPort: {{ int .Values.port }}}]\n        resources:\n          limits:\n            \
             {{- toYaml .Values.limits | nindent 12 }}\n---\n{{- if .Capabilities.APIVersions.Has \"policy/v1\" }}\napiVersion: policy/v1\n\
             kind: PodDisruptionBudget\nmetadata: {name: {{ .Release.Name }}}\n{{- end }}\n",
        ),
    ] {
        let path = folder.join("shop").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

#[test]
#[ignore = "needs helm: cargo xtask tier peers"]
fn helm_prints_the_same_for_a_chart() {
    let Some([helm]) = peers("helm beside ours", ["helm"]) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    chart(home.path());
    std::fs::write(
        home.path().join("more.yaml"),
        "extra: {tier: front, order: 1e3}\nteas: []\nport: 80\n",
    )
    .unwrap();
    let [ours, theirs] = tools(&helm, home.path());
    for words in [
        "template shop ./shop",
        "template shop ./shop -n prod -f more.yaml",
        "template shop ./shop --set teas[0]=oolong,name=corner,limits.cpu=null --kube-version 1.33.1",
        "template shop ./shop --set-json limits={\"cpu\":2} --set-string port=9090 --show-only templates/deployment.yaml",
        "template shop ./shop --api-versions policy/v2 --is-upgrade --no-hooks",
    ] {
        let own = ours.says(&format!("helm {words}"));
        same(words, &own, &theirs.says(words));
    }
}

fn build(ours: &Tool, file: &str) -> String {
    ours.says(&format!(
        "build ks vault --dry-run --kustomization-file {file} --path vault --decrypt-with till.agekey"
    ))
}

#[test]
#[ignore = "needs sops: cargo xtask tier peers"]
fn what_sops_encrypts_is_opened_and_what_our_tests_encrypt_is_opened_by_sops() {
    let Some([sops]) = peers("sops beside ours", ["sops"]) else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let [ours, theirs] = tools(&sops, home.path());
    let owner = Owner::new();
    let write = |name: &str, text: &str| {
        let path: PathBuf = home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("till.agekey", &owner.key_file());
    write(
        "vault.yaml",
        "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: vault, namespace: flux-system}\n\
         spec: {interval: 10m, path: ./vault, prune: true, sourceRef: {kind: GitRepository, name: flux-system}, decryption: {provider: sops}}\n",
    );
    let plain = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: till\n    namespace: shop\n\
                 stringData:\n    password: assam\n    number: \"7\"\n    long: |\n        two\n        lines\n";
    write("plain.yaml", plain);
    write(
        "plain.json",
        r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"json"},"stringData":{"password":"sencha"}}"#,
    );
    write("plain.env", "USER=till\nPASSWORD=oolong\n");
    let encrypt =
        |file: &str, more: &str| theirs.says(&format!("encrypt --age {} {more} {file}", owner.recipient()));
    write(
        "vault/till.yaml",
        &encrypt("plain.yaml", "--encrypted-regex ^(data|stringData)$"),
    );
    write(
        "vault/json.json",
        &encrypt("plain.json", "--encrypted-suffix Data"),
    );
    write("vault/till.env", &encrypt("plain.env", ""));
    write(
        "vault/kustomization.yaml",
        "resources: [till.yaml, json.json]\nsecretGenerator:\n- name: generated\n  envs: [till.env]\n\
         generatorOptions: {disableNameSuffixHash: true}\n",
    );
    let built = build(&ours, "vault.yaml");
    for part in [
        "password: assam",
        "number: \"7\"",
        "password: sencha",
        "PASSWORD: b29sb25n",
    ] {
        assert!(built.contains(part), "no {part:?} in:\n{built}");
    }

    // The other way about: the files that other tests are made of are such as sops itself opens.
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "till"}, "stringData": {"password": "assam"}});
    write("made.yaml", &made::yaml(&secret, &["stringData"], &owner));
    let opened = theirs
        .command(&["decrypt", "made.yaml"])
        .env("SOPS_AGE_KEY_FILE", home.path().join("till.agekey"))
        .output()
        .unwrap();
    assert!(
        opened.status.success(),
        "{}",
        String::from_utf8_lossy(&opened.stderr)
    );
    assert!(String::from_utf8_lossy(&opened.stdout).contains("password: assam"));
}
