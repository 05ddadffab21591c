//! A durable server that is killed while it is written to keeps what it acknowledged, whole.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use super::plain::{Client, Server};

const PATH: &str = "/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 4;
/// Objects of each writer.
const OBJECTS: u64 = 10;

/// What is known of an object: the last value that was acknowledged, and the last that was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    acknowledged: Option<u64>,
    sent: Option<u64>,
}

type Objects = BTreeMap<String, Known>;

fn object(name: &str, value: u64) -> String {
    // Of a size that fills pages of the file.
    let filler = "x".repeat(usize::try_from(value % 700).unwrap());
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"value": value.to_string(), "filler": filler}})
    .to_string()
}

/// Writes until the server is gone.
fn write(port: u16, writer: usize, known: &Mutex<Objects>) {
    let Ok(mut client) = Client::connect(port) else {
        return;
    };
    for turn in 0.. {
        let name = format!("w{writer}-{}", turn % OBJECTS);
        let last = known.lock().unwrap().get(&name).copied().unwrap_or_default();
        let value = last.sent.map_or(0, |sent| sent + 1);
        known.lock().unwrap().entry(name.clone()).or_default().sent = Some(value);
        let body = object(&name, value);
        let result = match client.send("PUT", &format!("{PATH}/{name}"), &body) {
            Ok((404, _)) => client.send("POST", PATH, &body),
            other => other,
        };
        match result {
            Ok((200 | 201, _)) => known.lock().unwrap().entry(name).or_default().acknowledged = Some(value),
            Ok((status, body)) => panic!("{status}: {}", String::from_utf8_lossy(&body)),
            Err(_) => return,
        }
    }
}

fn value_of(object: &Value) -> u64 {
    object["data"]["value"].as_str().unwrap().parse().unwrap()
}

fn by_name(items: &Value) -> BTreeMap<String, Value> {
    let items = items.as_array().unwrap().iter();
    items
        .map(|item| {
            (
                item["metadata"]["name"].as_str().unwrap().to_owned(),
                item.clone(),
            )
        })
        .filter(|(name, _)| name.starts_with('w'))
        .collect()
}

/// All objects that are there are whole, and each is at least as new as what was acknowledged.
fn check(client: &mut Client, known: &Objects) -> BTreeMap<String, Value> {
    let (status, list) = client.json("GET", PATH, "").unwrap();
    assert_eq!(status, 200);
    let there = by_name(&list["items"]);
    for (name, known) in known {
        let found = there.get(name).map(value_of);
        assert!(
            found >= known.acknowledged,
            "{name} was acknowledged as {:?} and is {found:?}",
            known.acknowledged
        );
        assert!(found <= known.sent, "{name} is {found:?}, which nobody sent");
        if let Some(found) = there.get(name) {
            let filler = found["data"]["filler"].as_str().unwrap_or("").len();
            assert_eq!(filler, usize::try_from(value_of(found) % 700).unwrap());
        }
    }
    there
}

/// Follows the changes since a list that was made before the server died: they lead to what is there now, or it is
/// said that they are gone.
fn resume(
    client: &mut Client,
    mut seen: BTreeMap<String, Value>,
    version: &str,
    now: &BTreeMap<String, Value>,
) -> bool {
    let path = format!("{PATH}?watch=true&resourceVersion={version}&timeoutSeconds=1");
    let (status, body) = client.send("GET", &path, "").unwrap();
    if status == 410 {
        return false;
    }
    assert_eq!(status, 200);
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).unwrap();
        let object = event["object"].clone();
        let name = object["metadata"]["name"].as_str().unwrap_or("").to_owned();
        match event["type"].as_str() {
            Some("ERROR") => {
                assert_eq!(object["code"], 410, "{object}");
                return false;
            }
            Some("DELETED") => {
                seen.remove(&name);
            }
            Some("BOOKMARK") => {}
            _ if name.starts_with('w') => {
                seen.insert(name, object);
            }
            _ => {}
        }
    }
    let values = |all: &BTreeMap<String, Value>| -> Vec<(String, u64)> {
        all.iter()
            .map(|(name, object)| (name.clone(), value_of(object)))
            .collect()
    };
    assert_eq!(values(&seen), values(now), "a watch that goes on has no gap");
    true
}

fn kills(count: u64) {
    let folder = tempfile::tempdir().unwrap();
    let known = Mutex::new(Objects::new());
    let mut before: Option<(BTreeMap<String, Value>, String)> = None;
    let mut version = 0;
    for round in 0..=count {
        let mut server = Server::start(folder.path());
        let mut client = Client::connect(server.port).unwrap();
        let there = check(&mut client, &known.lock().unwrap());
        if let Some((seen, version)) = before.take() {
            for (name, object) in &seen {
                let found = there.get(name).map(value_of);
                assert!(
                    found >= Some(value_of(object)),
                    "{name} was read before it was kept"
                );
            }
            resume(&mut client, seen, &version, &there);
        }
        // What a killed server may have written counts as sent, and the next value follows it.
        for (name, object) in &there {
            let mut known = known.lock().unwrap();
            let entry = known.entry(name.clone()).or_default();
            entry.acknowledged = Some(value_of(object));
        }
        if round == count {
            return;
        }
        let port = server.port;
        let known = &known;
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || write(port, writer, known));
            }
            std::thread::sleep(Duration::from_millis(20 + round * 7 % 60));
            let (_, list) = client.json("GET", PATH, "").unwrap();
            let own = list["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
            let number: u64 = own.parse().unwrap();
            assert!(number >= version, "versions never go back");
            version = number;
            before = Some((by_name(&list["items"]), own));
            std::thread::sleep(Duration::from_millis(10 + round * 13 % 40));
            server.kill();
        });
    }
}

#[test]
fn a_killed_server_keeps_what_it_acknowledged() {
    kills(4);
}

#[test]
#[ignore = "a hundred kills take minutes"]
fn a_hundred_kills_lose_nothing() {
    kills(100);
}
