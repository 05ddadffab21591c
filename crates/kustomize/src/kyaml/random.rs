//! Random documents, always the same, through all operations: nothing panics, and what has no
//! change stays.

use fluvial_yaml::{EmitOptions, Entry, Node, NodeData, Style, emit};

use super::merge2::{ListDirection, MergeOptions};
use super::{comments, format, merge2, merge3, stream};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit.max(1)
    }

    fn pick(&mut self, words: &str) -> String {
        let words: Vec<&str> = words.split(' ').collect();
        words[self.below(words.len())].to_owned()
    }
}

const KEYS: &str = "name containerPort protocol image ports containers env value spec template metadata labels $patch finalizers \
                    args volumes tolerations hostAliases ip x y";
const VALUES: &str = "a b c 80 443 TCP UDP null ~ delete replace merge true on \"q\" 'r'";

fn scalar(random: &mut Random) -> Node {
    let text = random.pick(VALUES);
    let mut node = Node::plain(text.trim_matches(['"', '\'']));
    if text.starts_with('"') {
        node.set_tag(Some("!!str".into()));
    }
    if random.below(12) == 0 {
        node.comments_mut().line =
            "# {\"items\":{\"$ref\":\"#/definitions/io.k8s.api.core.v1.Container\"},\"type\":\"array\",\
            \"x-kubernetes-patch-merge-key\":\"name\",\"x-kubernetes-patch-strategy\":\"merge\"}"
                .to_owned();
    }
    node
}

fn node(random: &mut Random, depth: usize) -> Node {
    let mut node = match random.below(if depth > 5 { 2 } else { 6 }) {
        0 | 1 => return scalar(random),
        2 | 3 => Node::sequence((0..random.below(4)).map(|_| node(random, depth + 1)).collect()),
        _ => mapping(random, depth),
    };
    if let NodeData::Mapping { style, .. } | NodeData::Sequence { style, .. } = &mut node.data
        && random.below(4) == 0
    {
        *style = Style::Flow;
    }
    node
}

fn mapping(random: &mut Random, depth: usize) -> Node {
    let entries = (0..random.below(5)).map(|_| Entry {
        key: Node::plain(random.pick(KEYS)),
        value: node(random, depth + 1),
    });
    Node::mapping(entries.collect())
}

/// A pod whose containers are random: the schema tells how they merge.
fn object(random: &mut Random) -> Node {
    let containers = Node::sequence((0..random.below(4)).map(|_| mapping(random, 3)).collect());
    let mut spec = mapping(random, 2);
    let entry = |key: &str, value: Node| Entry {
        key: Node::plain(key),
        value,
    };
    if let Some(entries) = spec.entries_mut() {
        entries.push(entry("containers", containers));
    }
    Node::mapping(vec![
        entry("apiVersion", Node::plain("v1")),
        entry("kind", Node::plain("Pod")),
        entry("metadata", mapping(random, 2)),
        entry("spec", spec),
    ])
}

fn print(node: &Node) -> String {
    emit(node, &EmitOptions::default())
}

#[test]
fn nothing_panics_whatever_is_merged() {
    let mut random = Random(0x0BAD_5EED_0000_0001);
    for _ in 0..4_000 {
        let (patch, mut dest) = (object(&mut random), object(&mut random));
        let update = object(&mut random);
        for list_direction in [ListDirection::Append, ListDirection::Prepend] {
            for infer in [false, true] {
                let options = MergeOptions {
                    list_direction,
                    infer,
                    schemas: None,
                };
                let _ = merge2::merge(&patch, Some(dest.clone()), None, &options);
            }
        }
        let _ = merge2::apply_patch(&patch, dest.clone(), true, true, None);
        let _ = merge3::merge(dest.clone(), &patch, &update, true);
        let _ = comments::copy_comments(&patch, &mut dest);
        let _ = comments::sync_order(&patch, &mut dest);
        let _ = format::format(&mut dest, true);
        let _ = stream::set_annotation(&mut dest, "a", "b");
        let _ = stream::write(&[dest], None);
    }
}

#[test]
fn a_patch_that_was_merged_changes_nothing_more() {
    let mut random = Random(0x0BAD_5EED_0000_0002);
    let options = MergeOptions {
        list_direction: ListDirection::Prepend,
        ..MergeOptions::default()
    };
    let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n";
    for _ in 0..2_000 {
        let mut pod = |count: usize| {
            let mut text = text.to_owned();
            let mut names = vec!["a", "b", "c", "d", "e"];
            for _ in 0..count {
                let name = names.remove(random.below(names.len()));
                text += &std::format!(
                    "  - name: {name}\n    image: {}\n    ports:\n",
                    random.pick("x y z")
                );
                let mut ports = vec!["80", "81", "82"];
                for _ in 0..=random.below(2) {
                    let port = ports.remove(random.below(ports.len()));
                    text += &std::format!(
                        "    - containerPort: {port}\n      name: {}\n",
                        random.pick("p q")
                    );
                }
            }
            let options = fluvial_yaml::ReadOptions::default();
            fluvial_yaml::parse_first(&text, &options)
                .expect("well-formed")
                .expect("a document")
        };
        let (patch, dest) = (pod(2), pod(3));
        let once = merge2::merge(&patch, Some(dest), None, &options)
            .expect("fits")
            .expect("stays");
        let twice = merge2::merge(&patch, Some(once.clone()), None, &options)
            .expect("fits")
            .expect("stays");
        assert_eq!(print(&twice), print(&once), "patch:\n{}", print(&patch));
    }
}
