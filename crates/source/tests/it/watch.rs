//! Local repositories that are watched.

use std::time::Duration;

use fluvial_source::watch;

use crate::support::{TestRepo, git_is_missing};

async fn told(watch: &mut watch::LocalWatch) -> bool {
    tokio::time::timeout(Duration::from_secs(5), watch.changed())
        .await
        .is_ok_and(|more| more)
}

/// Lets what is under way arrive, and forgets it.
async fn settle(watch: &mut watch::LocalWatch) {
    while tokio::time::timeout(Duration::from_millis(200), watch.changed())
        .await
        .is_ok()
    {}
}

#[tokio::test]
async fn every_way_to_move_a_reference_is_noticed() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let mut watch = watch::local(&repo.path(), false).unwrap();
    settle(&mut watch).await;
    let moves: [&dyn Fn(); 5] = [
        &|| drop(repo.commit(&[("a", "2")], "second")),
        &|| drop(repo.git(&["checkout", "-q", "-b", "feature/deep/er"])),
        &|| drop(repo.commit(&[("a", "3")], "third")),
        &|| drop(repo.git(&["tag", "v1"])),
        &|| drop(repo.git(&["pack-refs", "--all"])),
    ];
    for (index, action) in moves.into_iter().enumerate() {
        action();
        assert!(told(&mut watch).await, "move {index}");
        settle(&mut watch).await;
    }
    repo.write("b", "uncommitted");
    let quiet = tokio::time::timeout(Duration::from_millis(200), watch.changed()).await;
    assert!(quiet.is_err(), "an uncommitted file was told");
}

#[tokio::test]
async fn uncommitted_files_are_noticed_if_they_count() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("dir/a", "1")], "first");
    let mut watch = watch::local(&repo.path(), true).unwrap();
    settle(&mut watch).await;
    repo.write("dir/a", "2");
    assert!(told(&mut watch).await);
}

#[tokio::test]
async fn a_repository_that_is_moved_away_and_back_is_still_watched() {
    if git_is_missing() {
        return;
    }
    let repo = TestRepo::new();
    repo.commit(&[("a", "1")], "first");
    let mut watch = watch::local(&repo.path(), false).unwrap();
    settle(&mut watch).await;
    let moved = repo.root().join("moved");
    std::fs::rename(repo.path(), &moved).unwrap();
    assert!(told(&mut watch).await, "gone");
    settle(&mut watch).await;
    std::fs::create_dir(repo.path()).unwrap();
    repo.git(&["init", "-q", "-b", "main"]);
    repo.commit(&[("b", "1")], "another");
    assert!(told(&mut watch).await, "back");
    settle(&mut watch).await;
    repo.commit(&[("b", "2")], "more");
    assert!(told(&mut watch).await, "commit in the new one");
    let mut changes = watch.changes();
    drop(watch);
    changes.mark_unchanged();
    let end = tokio::time::timeout(Duration::from_secs(5), changes.changed())
        .await
        .unwrap();
    assert!(end.is_err(), "the watch did not end");
}
