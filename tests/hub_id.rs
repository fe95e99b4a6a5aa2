//! Hub ids (`owner/name[:file][@revision]`) against a hub on loopback: which files are fetched, at which commit, what
//! is found again without a network.
#![cfg(unix)]

#[path = "common/hub_server.rs"]
mod hub_server;
#[path = "common/hub_world.rs"]
mod hub_world;
#[path = "common/program.rs"]
mod program;

use std::fs;
use std::path::{Path, PathBuf};

use chapterize::progress::Progress;
use hub_server::{Storage, Trouble};
use hub_world::{
    CONFIG, OTHER, REPO, REVISION, World, git_id, hash, noise, put, starts, tree, world, world_of,
};
use program::Program;

const SAFETENSORS: &str = "model.safetensors";

/// File names of what was got, in their order.
fn names(world: &World) -> Vec<String> {
    let folder = world.pointer("");
    let files = world.get().unwrap().into_iter();
    let name = |file: PathBuf| file.strip_prefix(&folder).unwrap().display().to_string();
    files.map(name).collect()
}

/// The repository paths of which content was sent, each once.
fn fetched(world: &World) -> Vec<String> {
    let requests = world.server.requests().into_iter().filter_map(|request| {
        let (_, name) = request
            .path
            .split_once(&format!("/{REPO}/resolve/{REVISION}/"))?;
        Some(name.to_string())
    });
    let mut names = requests.collect::<Vec<_>>();
    names.sort();
    names.dedup();
    names
}

#[test]
fn of_a_safetensors_repository_the_files_that_are_used_are_fetched_and_no_others() {
    let weights = noise(1, 100_000);
    let files: [(&str, &[u8]); 6] = [
        (CONFIG, b"{\"a\": 1}"),
        ("pytorch_model.bin", b"pickled"),
        ("onnx/model.onnx", b"onnx"),
        (SAFETENSORS, &weights),
        ("tokenizer.json", b"{}"),
        ("generation_config.json", b"{\"b\": 2}"),
    ];
    let world = world_of(REPO, &files);
    let expected = [
        CONFIG,
        "tokenizer.json",
        "generation_config.json",
        SAFETENSORS,
    ];
    assert_eq!(names(&world), expected);
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(fetched(&world), sorted);

    let blob = |name: &str| fs::read_link(world.pointer(name)).unwrap();
    assert_eq!(
        blob(SAFETENSORS),
        Path::new("../../blobs").join(hash(&weights))
    );
    assert_eq!(
        blob(CONFIG),
        Path::new("../../blobs").join(git_id(b"{\"a\": 1}"))
    );
    let main = fs::read_to_string(world.repo().join("refs/main")).unwrap();
    assert_eq!(main, REVISION);

    assert_eq!(names(&world), expected);
    assert_eq!(world.server.requests(), []);
    assert_eq!(world.get_without_hub().unwrap(), world.get().unwrap());
}

#[test]
fn the_shards_that_the_index_names_are_fetched() {
    let (a, b) = (noise(2, 50_000), noise(3, 60_000));
    let index = br#"{"weight_map":{"x":"part-1.safetensors","y":"part-2.safetensors"}}"#;
    let world = world_of(
        REPO,
        &[
            (CONFIG, b"{}"),
            ("tokenizer.json", b"{ }"),
            ("model.safetensors.index.json", index),
            ("part-1.safetensors", &a),
            ("part-2.safetensors", &b),
            ("consolidated.safetensors", b"others"),
        ],
    );
    let index = "model.safetensors.index.json";
    let expected = [
        CONFIG,
        "tokenizer.json",
        index,
        "part-1.safetensors",
        "part-2.safetensors",
    ];
    assert_eq!(names(&world), expected);
    assert!(!fetched(&world).contains(&"consolidated.safetensors".into()));
    assert_eq!(world.get_without_hub().unwrap().len(), expected.len());

    // A shard that goes missing makes the checkpoint missing, and it alone is fetched again.
    fs::remove_file(fs::canonicalize(world.pointer("part-2.safetensors")).unwrap()).unwrap();
    world.get_without_hub().unwrap_err();
    assert_eq!(names(&world), expected);
    assert_eq!(fetched(&world), ["part-2.safetensors"]);
}

const QUANTISED: [(&str, &[u8]); 4] = [
    ("tiny-Q8_0.gguf", b"eight bits"),
    ("tiny-Q4_K_M.gguf", b"four"),
    ("tiny-Q2_K.gguf", b"2"),
    ("mmproj-tiny-Q8_0.gguf", b"eyes"),
];

#[test]
fn of_several_gguf_files_one_is_chosen_and_the_name_after_the_colon_chooses_another() {
    let world = world_of(REPO, &QUANTISED);
    assert_eq!(names(&world), ["tiny-Q4_K_M.gguf"]);
    assert_eq!(fetched(&world), ["tiny-Q4_K_M.gguf"]);
    for (id, name) in [
        ("someone/tiny:Q8_0", "tiny-Q8_0.gguf"),
        ("someone/tiny:tiny-Q2_K.gguf", "tiny-Q2_K.gguf"),
    ] {
        let world = world_of(id, &QUANTISED);
        assert_eq!(names(&world), [name]);
        assert_eq!(world.get_without_hub().unwrap(), [world.pointer(name)]);
    }
    let error = world_of("someone/tiny:Q5_0", &QUANTISED).get().unwrap_err();
    assert!(
        error.contains("no .gguf file like 'Q5_0'; it has "),
        "{error}"
    );
    assert!(error.contains("tiny-Q2_K.gguf"), "{error}");
}

#[test]
fn a_branch_or_tag_stands_for_its_commit_until_the_model_is_removed() {
    let world = world_of("someone/tiny@refs/pr/7", &[("a.gguf", b"first")]);
    world.server.set_ref(REPO, "refs/pr/7", OTHER);
    put(&world.server, OTHER, "a.gguf", b"second");
    let folder = world.repo().join("snapshots").join(OTHER);
    assert_eq!(world.get().unwrap(), [folder.join("a.gguf")]);
    assert_eq!(fs::read(folder.join("a.gguf")).unwrap(), b"second");
    let path = world.repo().join("refs/refs/pr/7");
    assert_eq!(fs::read_to_string(&path).unwrap(), OTHER);

    world.server.set_ref(REPO, "refs/pr/7", REVISION);
    assert_eq!(world.get().unwrap(), [folder.join("a.gguf")]);
    assert_eq!(world.get_without_hub().unwrap(), [folder.join("a.gguf")]);

    assert_eq!(world.remove(), 6);
    assert!(!path.exists());
    assert_eq!(world.get().unwrap(), [world.pointer("a.gguf")]);
}

#[test]
fn a_commit_can_be_asked_for_by_its_number() {
    let id = format!("{REPO}@{REVISION}");
    let world = world_of(&id, &[("a.gguf", b"weights")]);
    assert_eq!(names(&world), ["a.gguf"]);
    assert!(!world.repo().join("refs").exists());
    assert_eq!(world.get_without_hub().unwrap(), [world.pointer("a.gguf")]);
}

#[test]
fn what_the_python_client_fetched_is_found_through_its_ref() {
    let weights = noise(4, 40_000);
    let world = world_of(REPO, &[("absent.gguf", b"on the hub only")]);
    for name in [CONFIG, "tokenizer.json"] {
        world.put_as_python(OTHER, name, &git_id(b"{}"), b"{}");
    }
    let refs = world.repo().join("refs");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("main"), OTHER).unwrap();
    // It has fetched the configuration only: that is no checkpoint.
    let error = world.get_without_hub().unwrap_err();
    assert!(error.contains("could not be looked up"), "{error}");

    let pointer = world.put_as_python(OTHER, SAFETENSORS, &hash(&weights), &weights);
    let files = world.get_without_hub().unwrap();
    assert_eq!(files.last(), Some(&pointer));
    assert_eq!(files.len(), 3);

    // Its blobs say their hashes, so that damage shows.
    fs::write(&pointer, noise(5, 40_000)).unwrap();
    let error = world.get_without_hub().unwrap_err();
    assert!(error.contains(&hash(&weights)), "{error}");
}

#[test]
fn a_file_that_has_not_the_hash_the_hub_says_is_discarded() {
    for (name, storage) in [("a.gguf", Storage::Lfs), (CONFIG, Storage::Git)] {
        let world = world_of(
            REPO,
            &[
                (CONFIG, b"{}"),
                ("a.gguf", b"weights"),
                ("tokenizer.json", b"{}"),
                (SAFETENSORS, b"w"),
            ],
        );
        let claim = match storage {
            Storage::Lfs => hash(b"something else"),
            Storage::Git => git_id(b"something else"),
        };
        world
            .server
            .put(REPO, REVISION, name, b"arrives", &claim, storage);
        let wanted = match storage {
            Storage::Lfs => "someone/tiny:a.gguf",
            Storage::Git => REPO,
        };
        let wanted = chapterize::model_ref::HubId::parse(wanted)
            .unwrap()
            .wanted();
        let got = world.hub.get(&wanted, Progress::hidden());
        let error = format!("{:#}", got.unwrap_err());
        assert!(error.contains(&claim), "{error}");
        assert!(error.contains("it was discarded"), "{error}");
        assert_eq!(tree(&world.repo()), [] as [PathBuf; 0]);
    }
}

#[test]
fn a_download_that_was_cut_goes_on() {
    let body = noise(6, 400_000);
    let world = world_of(REPO, &[("a.gguf", &body)]);
    world.server.trouble(Trouble::CutAt(150_000));
    world.fetch().unwrap_err();
    assert!(!world.repo().join("refs").exists());
    world.server.requests();
    world.server.trouble(Trouble::None);
    world.fetch().unwrap();
    assert_eq!(starts(&world.server.requests()), [150_000]);
    assert_eq!(fs::read(world.pointer("a.gguf")).unwrap(), body);
}

#[test]
fn a_file_that_did_not_change_between_commits_is_not_fetched_twice() {
    let body = noise(7, 50_000);
    let mut world = world_of(REPO, &[("a.gguf", &body)]);
    world.get().unwrap();
    put(&world.server, OTHER, "a.gguf", &body);
    let id = format!("{REPO}@{OTHER}");
    world.wanted = chapterize::model_ref::HubId::parse(&id).unwrap().wanted();
    world.server.requests();
    let files = world.get().unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), body);
    let asked = world.server.requests();
    assert!(
        asked
            .iter()
            .all(|request| request.path.starts_with("/api/")),
        "{asked:?}"
    );
}

#[test]
fn a_mirror_that_lists_names_only_is_asked_about_each_file() {
    let body = noise(8, 30_000);
    let world = world_of(REPO, &[("a.gguf", &body)]);
    world.server.without_blobs();
    assert_eq!(world.get().unwrap(), [world.pointer("a.gguf")]);
    let blob = fs::read_link(world.pointer("a.gguf")).unwrap();
    assert_eq!(blob, Path::new("../../blobs").join(hash(&body)));
}

#[test]
fn a_manifest_without_a_commit_is_pinned_by_its_first_download() {
    let body = noise(11, 20_000);
    let mut world = world(&[("a.gguf", &body)]);
    world.wanted.revision = "main".into();
    assert_eq!(world.get().unwrap(), [world.pointer("a.gguf")]);
    put(&world.server, OTHER, "a.gguf", b"newer");
    world.server.set_ref(REPO, "main", OTHER);
    assert_eq!(world.get().unwrap(), [world.pointer("a.gguf")]);

    // The hub's list tells before the download that this is not the file the manifest means.
    world.remove();
    world.server.requests();
    let error = world.get().unwrap_err();
    assert!(error.contains("is not the file it was"), "{error}");
    assert_eq!(starts(&world.server.requests()), [] as [usize; 0]);
}

#[test]
fn the_program_gets_lists_verifies_and_removes_a_hub_id() {
    let world = world_of(REPO, &QUANTISED);
    let program = Program::new();
    let run = |args: &[&str]| {
        let mut command = program.command(&[&["models"], args].concat());
        let output = command
            .env("HF_ENDPOINT", world.server.url())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, out, notes) = run(&["get", REPO]);
    assert_eq!((code, &out[..]), (Some(0), ""), "{notes}");
    let chosen = "someone/tiny has 3 GGUF files; taking tiny-Q4_K_M.gguf";
    assert!(notes.starts_with(chosen), "{notes}");
    assert!(
        notes.contains("getting someone/tiny (commit 11111111): 4 B once, into"),
        "{notes}"
    );
    assert!(notes.ends_with("someone/tiny is ready\n"), "{notes}");
    assert!(run(&["get", REPO]).2.contains("is here already"));
    let (_, out, _) = run(&["path", REPO]);
    assert!(
        out.ends_with("/snapshots/1111111111111111111111111111111111111111/tiny-Q4_K_M.gguf\n"),
        "{out}"
    );
    assert!(
        run(&["list"])
            .1
            .contains("\nAlso in the cache:\n  someone/tiny (4 B)\n")
    );
    assert!(
        run(&["info", REPO])
            .1
            .contains("tiny-Q4_K_M.gguf (4 B), here")
    );
    assert_eq!(run(&["verify", REPO]).1, "someone/tiny: fine\n");

    fs::write(out.trim_end(), b"FOUR").unwrap();
    let (code, _, error) = run(&["verify", REPO]);
    assert_eq!(code, Some(1));
    assert!(
        error.contains(&hash(b"four")) && error.contains(&hash(b"FOUR")),
        "{error}"
    );
    assert_eq!(run(&["rm", REPO]).1, "someone/tiny: 4 B freed\n");
    assert_eq!(program.names("home/hub"), [".locks"]);
}
