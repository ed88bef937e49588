use std::{collections::BTreeMap, io::Read};

use super::{definition::User, *};

fn definition() -> Definition {
    Definition {
        service: "example".into(),
        user: User { uid: 1000, gid: 1000 },
        data: Some("/data".into()),
        entrypoint: vec!["isa".into()],
        path: vec!["/opt/bin".into()],
        shell: false,
        machine: Vec::new(),
        files: Vec::new(),
        elsewhere: None,
        context: PathBuf::new(),
    }
}

/// A folder with a file, a program and a link, packed.
fn pack(folder: &Path, out: &Path) -> String {
    let mut definition = definition();
    definition.machine = vec![folder.to_owned()];
    let tree = Tree::of(&definition, Path::new("/nowhere")).unwrap();
    let mut file = fs::File::create_new(out).unwrap();
    archive::write(&definition, &tree, out, &mut file, &mut |_| {}).unwrap()
}

fn members(tar: &[u8]) -> BTreeMap<PathBuf, (tar::Header, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = Vec::new();
        entry.read_to_end(&mut text).unwrap();
        (entry.path().unwrap().into_owned(), (entry.header().clone(), text))
    });
    entries.collect()
}

fn example(folder: &Path) {
    fs::write(folder.join("text"), "hello").unwrap();
    fs::write(folder.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("text", folder.join("link")).unwrap();
    // Longer than the hundred bytes that a tar header has for a name.
    let deep = folder.join("long".repeat(30));
    fs::create_dir(&deep).unwrap();
    fs::write(deep.join("file"), "deep").unwrap();
}

#[test]
fn an_archive_is_an_image_that_says_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    example(folder.path());
    let out = tempfile::tempdir().unwrap();
    let id = pack(folder.path(), &out.path().join("image.tar"));

    let outer = members(&fs::read(out.path().join("image.tar")).unwrap());
    let text = |name: &str| outer[Path::new(name)].1.clone();
    let manifest: serde_json::Value = serde_json::from_slice(&text("manifest.json")).unwrap();
    assert_eq!(
        manifest,
        serde_json::json!([{
            "Config": "config.json",
            "RepoTags": ["docker.io/library/staging-isa-example:amd64"],
            "Layers": ["layer.tar"],
        }])
    );
    let digest = |bytes: &[u8]| {
        format!(
            "sha256:{}",
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes))
        )
    };
    assert_eq!(digest(&text("config.json")), id);
    let config: serde_json::Value = serde_json::from_slice(&text("config.json")).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], digest(&text("layer.tar")));
    assert_eq!(config["config"]["User"], "1000:1000");
    let path = config["config"]["Env"][0].as_str().unwrap();
    assert!(path.starts_with("PATH=/opt/bin:/usr/local/sbin:"), "{path}");

    let layer = members(&text("layer.tar"));
    let inside = folder.path().strip_prefix("/").unwrap();
    let (header, text) = &layer[&inside.join("text")];
    assert_eq!((text.as_slice(), header.mode().unwrap()), (&b"hello"[..], 0o644));
    assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 0));
    assert_eq!(layer[&inside.join("run")].0.mode().unwrap(), 0o755);
    let (link, _) = &layer[&inside.join("link")];
    assert_eq!(link.link_name().unwrap().unwrap(), Path::new("text"));
    assert_eq!(layer[&inside.join("long".repeat(30)).join("file")].1, b"deep");
    let (data, _) = &layer[Path::new("data")];
    assert_eq!((data.uid().unwrap(), data.gid().unwrap()), (1000, 1000));
    assert_eq!(layer[Path::new("tmp")].0.mode().unwrap(), 0o1777);
    let passwd = String::from_utf8(layer[Path::new("etc/passwd")].1.clone()).unwrap();
    assert!(passwd.contains("example:x:1000:1000:"), "{passwd}");
}

#[test]
fn the_same_files_give_the_same_bytes_whenever_and_by_whom_they_were_written() {
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    example(folder.path());
    let first = pack(folder.path(), &out.path().join("first.tar"));
    let file = fs::File::open(folder.path().join("text")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000))
        .unwrap();
    fs::set_permissions(folder.path().join("text"), fs::Permissions::from_mode(0o640)).unwrap();
    let second = pack(folder.path(), &out.path().join("second.tar"));
    assert_eq!(first, second);
    let read = |name: &str| fs::read(out.path().join(name)).unwrap();
    assert!(read("first.tar") == read("second.tar"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_made_once_and_again_when_its_inputs_have_changed() {
    let (cache, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    example(folder.path());
    let mut definition = definition();
    definition.machine = vec![folder.path().to_owned()];
    // The list of images lives as long as the program.
    let definition: &'static Definition = Box::leak(Box::new(definition));
    assert!(matches!(status(cache.path(), definition), Status::Missing));

    let outcomes = std::sync::Mutex::new(Vec::new());
    let report = |event: crate::install::Event| {
        if matches!(
            event.kind,
            EventKind::Present | EventKind::Done { .. } | EventKind::Failed(_)
        ) {
            outcomes.lock().unwrap().push(event.kind);
        }
    };
    let failed = super::pack(cache.path(), &[definition], &report).await;
    assert!(failed.is_empty(), "{failed:?}");
    let Status::Current(built) = status(cache.path(), definition) else {
        panic!("it is there");
    };
    assert_eq!(
        built.bytes,
        fs::metadata(archive(cache.path(), definition)).unwrap().len()
    );
    super::pack(cache.path(), &[definition], &report).await;

    fs::write(folder.path().join("text"), "changed").unwrap();
    assert!(matches!(status(cache.path(), definition), Status::Outdated(_)));
    super::pack(cache.path(), &[definition], &report).await;
    assert!(matches!(status(cache.path(), definition), Status::Current(now) if now.id != built.id));
    let outcomes = outcomes.into_inner().unwrap();
    assert!(
        matches!(
            outcomes[..],
            [EventKind::Done { .. }, EventKind::Present, EventKind::Done { .. }]
        ),
        "{outcomes:?}"
    );

    // Nothing but the image and its record is left.
    let left: Vec<_> = fs::read_dir(cache.path().join("images")).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
    fs::write(archive(cache.path(), definition), "cut").unwrap();
    assert!(matches!(status(cache.path(), definition), Status::Outdated(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_installed_is_named_with_the_command_that_installs_it() {
    let cache = tempfile::tempdir().unwrap();
    let redis = named(&["redis".into()]).unwrap();
    let failed = super::pack(cache.path(), &redis, &|_| {}).await;
    let text = failed[0].1.to_string();
    assert!(
        text.contains("isa engines install redis redis-tools busybox"),
        "{text}"
    );

    let grafana = named(&["grafana".into()]).unwrap();
    let failed = super::pack(cache.path(), &grafana, &|_| {}).await;
    assert!(failed[0].1.to_string().contains("--with docker"), "{failed:?}");

    let loader = Loader::Containerd {
        socket: "/nowhere".into(),
    };
    let failed = load(&loader, cache.path(), &redis, &|_| {}).await;
    assert!(
        failed[0].1.to_string().contains("isa images build redis"),
        "{failed:?}"
    );
}
