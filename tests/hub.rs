//! `Hub` and `Cache` against a hub on loopback: what is asked for, what lies on disk after, what the user is told.
#![cfg(unix)]

#[path = "common/hub_server.rs"]
mod hub_server;
#[path = "common/hub_world.rs"]
mod hub_world;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chapterize::cache::State;
use chapterize::hub::Hub;
use hub_server::{NoHub, Storage, Trouble};
use hub_world::{CONFIG, OTHER, REPO, REVISION, WEIGHTS, hash, noise, spec, starts, tree, world};

#[test]
fn a_fetched_file_lies_as_the_python_client_has_it_and_is_not_fetched_again() {
    let body = noise(1, 300_000);
    let world = world(&[(WEIGHTS, &body)]);
    let files = world.get().unwrap();

    let pointer = world.repo().join("snapshots").join(REVISION).join(WEIGHTS);
    assert_eq!(files, std::slice::from_ref(&pointer));
    let target = fs::read_link(&pointer).unwrap();
    assert_eq!(target, Path::new("../../blobs").join(hash(&body)));
    assert_eq!(fs::read(&pointer).unwrap(), body);
    assert_eq!(
        tree(&world.repo().join("blobs")),
        [world.repo().join("blobs").join(hash(&body))]
    );
    assert!(!world.repo().join(".incoming").exists());

    assert_eq!(starts(&world.server.requests()), [0]);
    assert_eq!(world.get().unwrap(), files);
    assert_eq!(world.server.requests(), []);
    assert_eq!(world.get_without_hub().unwrap(), files);
}

#[test]
fn a_download_cut_half_way_goes_on_from_where_it_stopped() {
    let body = noise(2, 400_000);
    let world = world(&[(WEIGHTS, &body)]);
    world.server.trouble(Trouble::CutAt(150_000));
    world.fetch().unwrap_err();
    let tries = starts(&world.server.requests());
    assert_eq!(tries[0], 0);
    assert!(
        tries[1..].iter().all(|start| *start == 150_000),
        "{tries:?}"
    );
    assert!(tree(&world.repo().join("snapshots")).is_empty());

    world.server.trouble(Trouble::None);
    world.fetch().unwrap();
    assert_eq!(starts(&world.server.requests()), [150_000]);
    assert_eq!(world.state(true), State::Ready);
    assert_eq!(fs::read(&world.get().unwrap()[0]).unwrap(), body);
}

#[test]
fn a_file_with_the_wrong_hash_is_refused_and_leaves_nothing() {
    let (expected, other) = (noise(3, 200_000), noise(4, 200_000));
    let world = world(&[(WEIGHTS, &expected)]);
    let claim = hash(&expected);
    world
        .server
        .put(REPO, REVISION, WEIGHTS, &other, &claim, Storage::Lfs);
    let error = world.get().unwrap_err();
    assert!(error.contains(&hash(&expected)), "{error}");
    assert!(error.contains(&hash(&other)), "{error}");
    assert_eq!(tree(&world.repo()), [] as [PathBuf; 0]);

    // Nor does the next try go on from it.
    world
        .server
        .put(REPO, REVISION, WEIGHTS, &expected, &claim, Storage::Lfs);
    world.fetch().unwrap();
    assert_eq!(fs::read(&world.get().unwrap()[0]).unwrap(), expected);
}

/// Spoils the file, and expects `get` to say why it will not do and which command helps, and `fetch` to help.
fn reported_and_repaired(why: &str, spoil: impl FnOnce(&Path)) {
    let body = noise(5, 200_000);
    let world = world(&[(WEIGHTS, &body)]);
    let file = world.get().unwrap().remove(0);
    spoil(&file);
    world.server.requests();

    let error = world.get().unwrap_err();
    assert!(error.contains(why), "{error}");
    assert!(
        error.contains("run 'chapterize models get tiny'"),
        "{error}"
    );
    assert!(error.contains(&file.display().to_string()), "{error}");
    assert_eq!(
        world.server.requests(),
        [],
        "repaired behind the user's back"
    );

    world.fetch().unwrap();
    assert_eq!(world.get().unwrap(), [file.as_path()]);
    assert_eq!(fs::read(file).unwrap(), body);
}

#[test]
fn a_truncated_file_is_reported_by_get_and_repaired_by_fetch() {
    reported_and_repaired("123456 bytes, expected 200000", |path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(123_456).unwrap();
    });
}

#[test]
fn an_empty_file_is_reported_by_get_and_repaired_by_fetch() {
    reported_and_repaired(": 0 bytes, expected 200000", |path| {
        File::create(path).unwrap();
    });
}

#[test]
fn a_file_of_the_same_size_with_another_content_is_reported_and_repaired() {
    reported_and_repaired(&format!("sha256 is {}", hash(&noise(6, 200_000))), |path| {
        let later = fs::metadata(path).unwrap().modified().unwrap() + Duration::from_secs(2);
        fs::write(path, noise(6, 200_000)).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(later).unwrap();
    });
}

#[test]
fn the_token_is_sent_to_the_hub_and_nothing_is_where_there_is_none() {
    let body = noise(7, 1_000);
    for token in [Some("hf_secret"), None] {
        let mut world = world(&[(WEIGHTS, &body), (CONFIG, b"{}")]);
        let cache = world.hub.cache.clone();
        world.hub = Hub::new(cache, &world.server.url(), token.map(String::from));
        world.get().unwrap();
        let mut requests = world.server.requests();
        requests.retain(|request| request.path.starts_with("/someone/"));
        assert_eq!(requests.len(), 4, "size and content of two files");
        for request in requests {
            let expected = token.map(|token| format!("Bearer {token}"));
            assert_eq!(request.authorization, expected, "{}", request.path);
        }
    }
}

#[test]
fn a_hub_that_asks_who_we_are_makes_the_error_tell_about_the_token() {
    let world = world(&[(WEIGHTS, b"weights")]);
    for status in [401, 403] {
        world.server.trouble(Trouble::Status(status));
        let error = world.get().unwrap_err();
        assert!(error.contains("HF_TOKEN"), "{status}: {error}");
        assert!(error.contains(REPO), "{status}: {error}");
    }
}

#[test]
fn a_file_the_hub_does_not_have_is_named_with_its_repository() {
    let mut world = world(&[(CONFIG, b"{}")]);
    world.wanted = spec(&[(CONFIG, b"{}"), (WEIGHTS, b"weights")])
        .wanted()
        .unwrap();
    let error = world.get().unwrap_err();
    let expected = format!("the hub has no {WEIGHTS} in {REPO}");
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_hub_that_cannot_be_reached_fails_soon_and_says_where_to_copy_the_files() {
    let nobody = NoHub::new();
    let mut world = world(&[(WEIGHTS, b"weights")]);
    world.hub = Hub::new(world.hub.cache.clone(), &nobody.url(), None);
    let start = Instant::now();
    let error = world.get().unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(20));
    assert!(error.contains(&nobody.host()), "{error}");

    let folder = world.repo().join("snapshots").join(REVISION);
    assert!(error.contains(&folder.display().to_string()), "{error}");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(WEIGHTS), b"weights").unwrap();
    assert_eq!(world.get().unwrap(), [folder.join(WEIGHTS)]);
}

#[test]
fn what_the_python_client_fetched_at_another_revision_is_found_without_a_request() {
    let body = noise(8, 100_000);
    let world = world(&[(WEIGHTS, &body)]);
    let pointer = world.put_as_python(OTHER, WEIGHTS, &hash(&body), &body);
    assert_eq!(world.get_without_hub().unwrap(), [pointer]);
}

#[test]
fn remove_frees_the_model_and_leaves_other_files_of_the_repository_alone() {
    let body = noise(9, 100_000);
    let world = world(&[(WEIGHTS, &body), (CONFIG, b"{}")]);
    world.get().unwrap();
    let foreign = world.put_as_python(REVISION, "README.md", "f00d", b"# Tiny");
    assert_eq!(world.remove(), 100_002);
    let kept = [world.repo().join("blobs/f00d"), foreign.clone()];
    assert_eq!(tree(&world.repo()), kept);
    assert_eq!(fs::read(foreign).unwrap(), b"# Tiny");
    assert_eq!(world.state(false), State::Missing);
}

#[test]
fn of_a_model_of_several_files_only_the_missing_one_is_fetched() {
    let (first, second) = (noise(10, 50_000), noise(11, 60_000));
    let world = world(&[("a.gguf", &first), (CONFIG, b"{}"), ("b.gguf", &second)]);
    let files = world.get().unwrap();
    let names = files
        .iter()
        .map(|file| file.file_name().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(names, ["a.gguf", CONFIG, "b.gguf"]);
    world.server.requests();

    fs::remove_file(fs::canonicalize(&files[2]).unwrap()).unwrap();
    assert_eq!(world.get().unwrap(), files);
    let requests = world.server.requests();
    assert!(!requests.is_empty());
    assert!(
        requests
            .iter()
            .all(|request| request.path.ends_with("/b.gguf")),
        "{requests:?}"
    );
}

#[test]
fn a_file_in_a_subfolder_is_linked_from_there() {
    let body = noise(12, 10_000);
    let world = world(&[("onnx/model.onnx", &body), ("a/b/config.json", b"{}")]);
    let files = world.get().unwrap();
    let link = |path: &Path| fs::read_link(path).unwrap();
    assert_eq!(
        link(&files[0]),
        Path::new("../../../blobs").join(hash(&body))
    );
    assert_eq!(
        link(&files[1]),
        Path::new("../../../../blobs").join(hash(b"{}"))
    );
    assert_eq!(fs::read(&files[0]).unwrap(), body);
    assert_eq!(fs::read(&files[1]).unwrap(), b"{}");
}

#[test]
fn a_resumed_download_survives_another_cut_at_its_first_byte() {
    let body = noise(13, 400_000);
    let world = world(&[(WEIGHTS, &body)]);
    world.server.trouble(Trouble::CutAt(150_000));
    world.fetch().unwrap_err();
    world.server.requests();

    world.server.trouble(Trouble::CutOnceAt(150_000));
    world.fetch().unwrap();
    assert_eq!(starts(&world.server.requests()), [150_000, 150_000]);
    assert_eq!(fs::read(&world.get().unwrap()[0]).unwrap(), body);
}

/// Leaves a part of a download behind, writes `part` over it, and expects the next `fetch` to get over it.
fn survives_part(part: impl FnOnce(&[u8]) -> Vec<u8>) {
    let body = noise(14, 100_000);
    let world = world(&[(WEIGHTS, &body)]);
    world.server.trouble(Trouble::CutAt(50_000));
    world.fetch().unwrap_err();
    let mut parts = tree(&world.repo());
    parts.retain(|path| path.extension().is_some_and(|end| end == "part"));
    assert_eq!(parts.len(), 1);
    fs::write(&parts[0], part(&body)).unwrap();

    world.server.trouble(Trouble::None);
    world.fetch().unwrap();
    assert_eq!(fs::read(&world.get().unwrap()[0]).unwrap(), body);
}

#[test]
fn a_part_longer_than_the_file_is_discarded() {
    survives_part(|body| [body, b"and more"].concat());
}

#[test]
fn a_part_that_is_whole_already_is_not_in_the_way() {
    survives_part(|body| body.to_vec());
}

#[test]
fn a_file_damaged_after_a_fetch_that_got_only_it_is_repaired() {
    let (first, second) = (noise(16, 10_000), noise(17, 60_000));
    let world = world(&[("a.gguf", &first), ("b.gguf", &second)]);
    world.server.trouble(Trouble::CutAt(20_000));
    world.fetch().unwrap_err();
    let got = world.repo().join("snapshots").join(REVISION).join("a.gguf");
    fs::write(&got, b"spoilt").unwrap();

    world.server.trouble(Trouble::None);
    world.fetch().unwrap();
    assert_eq!(fs::read(&got).unwrap(), first);
}

#[test]
fn fetching_what_is_there_already_needs_no_hub() {
    let mut world = world(&[(WEIGHTS, b"weights")]);
    world.fetch().unwrap();
    let nobody = NoHub::new();
    world.hub = Hub::new(world.hub.cache.clone(), &nobody.url(), None);
    world.fetch().unwrap();
}

#[test]
fn a_file_shared_by_two_revisions_is_removed_from_both() {
    let body = noise(18, 10_000);
    let world = world(&[(WEIGHTS, &body)]);
    world.put_as_python(REVISION, WEIGHTS, &hash(&body), &body);
    world.put_as_python(OTHER, WEIGHTS, &hash(&body), &body);
    assert_eq!(world.remove(), 10_000);
    assert_eq!(tree(&world.repo()), [] as [PathBuf; 0]);
    assert!(!world.repo().exists());
}

#[test]
fn a_file_of_another_revision_that_only_has_the_same_size_is_neither_damaged_nor_removed() {
    let (body, older) = (noise(19, 10_000), noise(20, 10_000));
    let world = world(&[(WEIGHTS, &body)]);
    let foreign = world.put_as_python(OTHER, WEIGHTS, &hash(&older), &older);
    let files = world.get().unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), body);
    assert_eq!(world.remove(), 10_000);
    assert_eq!(fs::read(foreign).unwrap(), older);
}
