//! Made-up and damaged trees: a build may fail, but it ends and does not panic, and what it prints
//! builds again to the same.

use std::time::{Duration, Instant};

use fluvial_kustomize::Options;

use crate::{build_at, tree};

/// A small generator of numbers, so that every run is the same.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % below
    }

    fn pick<'t, T>(&mut self, list: &'t [T]) -> &'t T {
        &list[self.next(list.len())]
    }
}

const SEEDS: [&[(&str, &str)]; 3] = [
    &[
        (
            "kustomization.yaml",
            "namespace: team\nnamePrefix: p-\nresources: [a.yaml, sub]\nlabels:\n- pairs: {x: \"y\"}\n  includeSelectors: true\n\
             images: [{name: web, newTag: \"2\"}]\nreplicas: [{name: web, count: 3}]\nconfigMapGenerator:\n- name: c\n  \
             literals: [a=b]\n  files: [f]\npatches:\n- patch: |\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: \
             {name: web}\n    spec: {replicas: 4}\n- target: {kind: Service}\n  patch: '[{\"op\": \"add\", \"path\": \"/spec/a\", \
             \"value\": 1}]'\n",
        ),
        (
            "a.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  template:\n    spec:\n      \
             containers:\n      - name: web\n        image: web:1\n        envFrom: [{configMapRef: {name: c}}]\n---\n\
             apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n",
        ),
        ("f", "some\ntext\n"),
        (
            "sub/kustomization.yaml",
            "resources: [b.yaml]\nnameSuffix: \"-s\"\n",
        ),
        (
            "sub/b.yaml",
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ServiceAccount, metadata: {name: web}}\n",
        ),
    ],
    &[
        (
            "kustomization.yaml",
            "resources: [a.yaml]\nreplacements:\n- source: {kind: Job, name: j, fieldPath: spec.a.0}\n  targets:\n  - select: \
             {name: k}\n    fieldPaths: [\"spec.b.[name=x].c\", spec.d]\n    options: {create: true}\nvars:\n- name: V\n  \
             objref: {kind: Job, name: j, apiVersion: batch/v1}\ncommonAnnotations: {a: $(V)}\nsortOptions: {order: legacy}\n\
             buildMetadata: [originAnnotations, transformerAnnotations]\ntransformers:\n- |-\n  apiVersion: builtin\n  kind: \
             PrefixTransformer\n  metadata: {name: t}\n  prefix: z-\n  fieldSpecs: [{path: metadata/name}]\n",
        ),
        (
            "a.yaml",
            "apiVersion: batch/v1\nkind: Job\nmetadata: {name: j}\nspec: {a: [1, two, 3.0], command: [$(V)]}\n---\n\
             apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: k}\nspec: {b: [{name: x}]}\n",
        ),
    ],
    &[
        (
            "kustomization.yaml",
            "components: [c]\nresources: [a.yaml]\nopenapi: {path: schema.json}\nconfigurations: [conf.yaml]\n\
             secretGenerator:\n- {name: s, envs: [e], type: x/y, options: {immutable: true}}\ngeneratorOptions: {labels: {l: m}}\n",
        ),
        (
            "c/kustomization.yaml",
            "kind: Component\nnamePrefix: c-\npatches: [{path: p.yaml}]\n",
        ),
        (
            "c/p.yaml",
            "apiVersion: e/v1\nkind: K\nmetadata: {name: k}\nlist: [{n: a, v: 2}, {$patch: delete, n: b}]\n",
        ),
        (
            "a.yaml",
            "apiVersion: e/v1\nkind: K\nmetadata: {name: k}\nlist: &l [{n: a, v: 1}, {n: b}]\nmore: *l\n",
        ),
        ("e", "A=1\nB\n#c\n"),
        (
            "conf.yaml",
            "nameReference:\n- kind: Secret\n  fieldSpecs: [{kind: K, path: secret}]\n",
        ),
        (
            "schema.json",
            "{\"definitions\": {\"K\": {\"properties\": {\"list\": {\"type\": \"array\", \"items\": {\"type\": \"object\"}, \
             \"x-kubernetes-patch-merge-key\": \"n\", \"x-kubernetes-patch-strategy\": \"merge\"}}, \
             \"x-kubernetes-group-version-kind\": [{\"group\": \"e\", \"version\": \"v1\", \"kind\": \"K\"}]}}}",
        ),
    ],
];

const BITS: [&str; 28] = [
    "",
    " ",
    "\n",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|",
    "&a ",
    "*a",
    "<<: ",
    "null",
    "~",
    "#",
    "---\n",
    "\t",
    "!!int ",
    "\u{e9}",
    "0x",
    "kustomization.yaml",
    "../",
    "$(",
    "metadata:",
    "$patch: replace",
];

fn damage(text: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.next(3) {
        let at = random.next(bytes.len() + 1);
        match random.next(4) {
            0 => {
                bytes.splice(at..at, random.pick(&BITS).bytes());
            }
            1 => {
                let end = (at + random.next(12)).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let from = random.next(bytes.len() + 1);
                let end = (from + random.next(40)).min(bytes.len());
                let part = bytes[from..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = u8::try_from(random.next(256)).unwrap();
                }
            }
        }
    }
    bytes
}

#[test]
fn damaged_trees_end_in_an_error_or_in_a_build() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let rounds = std::env::var("FUZZ_ROUNDS").map_or(1000, |text| text.parse().unwrap());
    let mut built = 0;
    for _ in 0..rounds {
        let seed = *random.pick(&SEEDS);
        let hit = random.next(seed.len());
        let files: Vec<(&str, Vec<u8>)> = seed
            .iter()
            .enumerate()
            .map(|(index, (path, text))| {
                let data = if index == hit || random.next(6) == 0 {
                    damage(text, &mut random)
                } else {
                    text.as_bytes().to_vec()
                };
                (*path, data)
            })
            .collect();
        let started = Instant::now();
        let result = build_at(&tree(&files), "", &Options::flux());
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?} for {files:?}");
        let Ok(build) = result else { continue };
        let Ok(yaml) = build.to_yaml(1) else { continue };
        built += 1;
        // Bookkeeping annotations are made anew by each build.
        if !yaml.is_empty() && !yaml.contains("config.kubernetes.io/") {
            let again = [
                ("kustomization.yaml", "resources: [all.yaml]"),
                ("all.yaml", &yaml),
            ];
            let again = build_at(&tree(&again), "", &Options::flux());
            match again {
                Ok(again) => assert_eq!(again.to_yaml(1).unwrap(), yaml),
                // What a patch or a variable made of an object need not be one that may be read.
                Err(error) => assert!(!error.to_string().contains("MalformedYAML"), "{error}\n{yaml}"),
            }
        }
    }
    assert!(built > rounds / 20, "only {built} of {rounds} were built");
}

#[test]
fn what_is_damaged_builds_while_it_is_whole() {
    for seed in SEEDS {
        let built = build_at(&tree(seed), "", &Options::flux());
        assert!(built.is_ok(), "{}", built.unwrap_err());
    }
}
