//! The artifact server, asked over HTTP.

use fluvial_source::artifact::{Owner, Packed, Store, serve};

async fn start() -> (tempfile::TempDir, Store, String) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = serve(store.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (dir, store, base)
}

#[tokio::test]
async fn artifacts_are_served_with_ranges_and_etags_and_nothing_else_is() {
    let (dir, store, base) = start().await;
    let owner = Owner {
        kind: "GitRepository".into(),
        namespace: "ns".into(),
        name: "n".into(),
    };
    let stored = store
        .put(&owner, "aa.tar.gz", &Packed::new("0123456789"))
        .unwrap();
    std::fs::write(dir.path().join("../outside"), "secret").ok();
    let client = reqwest::Client::new();
    let url = format!("{base}/{}", stored.path);
    let full = client.get(&url).send().await.unwrap();
    let header = |name: &str| full.headers()[name].to_str().unwrap().to_owned();
    let (etag, modified) = (header("etag"), header("last-modified"));
    assert!(modified.ends_with(" GMT") && modified.len() == 29, "{modified}");
    assert_eq!(full.headers()["content-length"], "10");
    assert_eq!(full.text().await.unwrap(), "0123456789");
    let latest = client
        .get(format!("{base}/{}", owner.latest_path().unwrap()))
        .send()
        .await
        .unwrap();
    assert_eq!(latest.text().await.unwrap(), "0123456789");
    let part = client
        .get(&url)
        .header("range", "bytes=2-4")
        .send()
        .await
        .unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 2-4/10");
    assert_eq!(part.text().await.unwrap(), "234");
    let beyond = client
        .get(&url)
        .header("range", "bytes=10-")
        .send()
        .await
        .unwrap();
    assert_eq!(beyond.status(), 416);
    let same = client
        .get(&url)
        .header("if-none-match", &etag)
        .send()
        .await
        .unwrap();
    assert_eq!(same.status(), 304);
    for (name, value, want) in [
        ("if-modified-since", modified.as_str(), 304),
        ("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT", 200),
        ("if-none-match", "\"other\"", 200),
        ("if-none-match", "*", 304),
    ] {
        let answer = client.get(&url).header(name, value).send().await.unwrap();
        assert_eq!(answer.status(), want, "{name}: {value}");
        assert_eq!(answer.headers()["etag"], etag.as_str());
    }
    for (held, want) in [(etag.as_str(), 206), (modified.as_str(), 206), ("\"other\"", 200)] {
        let asked = client.get(&url).header("range", "bytes=5-");
        let answer = asked.header("if-range", held).send().await.unwrap();
        assert_eq!(answer.status(), want, "{held}");
    }
    let head = client.head(&url).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], "10");
    for path in [
        "",
        "/",
        "/gitrepository/ns/n/",
        "/../outside",
        "/gitrepository/%2e%2e/%2e%2e/outside",
        "/.objects",
        "/nope",
    ] {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.text().await.unwrap(), "404 page not found\n");
    }
    assert_eq!(client.post(&url).send().await.unwrap().status(), 405);
}

#[cfg(unix)]
#[tokio::test]
async fn links_that_lead_outside_are_not_followed() {
    let (dir, _store, base) = start().await;
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
    let answer = reqwest::get(format!("{base}/link")).await.unwrap();
    assert_eq!(answer.status(), 404);
}
