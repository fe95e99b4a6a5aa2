//! What is not fetched, and what the user is told: closed and absent repositories, too little disk, too little memory.
#![cfg(unix)]

#[path = "common/hub_server.rs"]
mod hub_server;
#[path = "common/hub_world.rs"]
mod hub_world;

use std::path::PathBuf;

use chapterize::hub::{Fit, Hub};
use chapterize::progress::Progress;
use hub_server::Trouble;
use hub_world::{REPO, World, noise, tree, world_of};

/// Whether any byte of a file was asked for.
fn asked_for_files(world: &World) -> bool {
    let requests = world.server.requests();
    requests
        .iter()
        .any(|request| !request.path.starts_with("/api/"))
}

#[test]
fn a_gated_repository_says_where_to_accept_its_terms_and_how_to_give_a_token() {
    let mut world = world_of(REPO, &[("a.gguf", b"weights")]);
    for trouble in [Trouble::Gated, Trouble::Status(401), Trouble::Status(403)] {
        world.server.trouble(trouble);
        let error = world.get().unwrap_err();
        assert!(
            error.contains("HF_TOKEN") && error.contains("hf auth login"),
            "{error}"
        );
        let page = format!("accept its terms at {}/{REPO}", world.server.url());
        assert!(error.contains(&page), "{error}");
    }
    world.server.trouble(Trouble::Gated);
    let cache = world.hub.cache.clone();
    world.hub = Hub::new(cache, &world.server.url(), Some("hf_mine".into()));
    world.get().unwrap();
}

#[test]
fn a_repository_or_revision_that_is_not_there_is_said_to_be_that() {
    for (id, why) in [
        (
            "someone/tinny",
            "the hub has no someone/tinny, or it is private; check the spelling",
        ),
        (
            "someone/tiny@v9",
            "someone/tiny has no branch, tag or commit 'v9'",
        ),
    ] {
        let world = world_of(id, &[("a.gguf", b"weights")]);
        let error = world.get().unwrap_err();
        assert!(error.contains(why), "{error}");
        assert_eq!(tree(&world.repo()), [] as [PathBuf; 0]);
    }
    let world = world_of(REPO, &[("model.onnx", b"graph")]);
    let error = world.get().unwrap_err();
    assert!(error.contains("there is model.onnx"), "{error}");
}

#[test]
fn too_little_disk_is_an_error_before_anything_is_fetched() {
    let body = noise(9, 500_000);
    let mut world = world_of(REPO, &[("a.gguf", &body)]);
    world.hub.machine.free_disk = Some(123_456);
    let error = world.get().unwrap_err();
    for part in [
        "needs 500 kB more on the disk",
        "and 124 kB are free at",
        "HF_HOME",
    ] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!asked_for_files(&world));

    // What arrived before the line broke is not needed again.
    world.hub.machine.free_disk = Some(500_000);
    world.server.trouble(Trouble::CutAt(200_000));
    world.fetch().unwrap_err();
    world.hub.machine.free_disk = Some(300_000);
    world.server.trouble(Trouble::None);
    world.fetch().unwrap();
}

#[test]
fn too_little_memory_is_an_error_with_both_numbers_and_a_way_out() {
    let body = noise(10, 500_000);
    let mut world = world_of(REPO, &[("a.gguf", &body)]);
    world.hub.machine.memory = 599_000;
    let error = world.get().unwrap_err();
    assert!(
        error.contains("needs about 600 kB of memory and this machine has 599 kB"),
        "{error}"
    );
    assert!(!asked_for_files(&world));

    // Somebody may want it for another machine; this one still does not run it.
    world
        .hub
        .fetch(&world.wanted, Fit::Ignored, Progress::hidden())
        .unwrap();
    assert!(world.get().unwrap_err().contains("of memory"));

    let mut world = world_of(REPO, &[("a.gguf", &body)]);
    world.wanted.memory = Some(9_000_000_000);
    world.hub.machine.memory = 1_000_000_000;
    let error = world.get().unwrap_err();
    assert!(error.contains("; the largest that fits is '"), "{error}");
    assert_eq!(world.server.requests(), []);
}
