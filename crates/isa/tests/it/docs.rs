//! Every example of `docs/building-blocks/` and of README, run as a reader does, beside the output that stands there.
//!
//! An example is a block of Python, shell or Rust, and what it prints is the block of text that follows it under
//! `Output:`. The Rust ones are compiled as `crates/services/examples/docs_<page>.rs`, which are checked in and must be
//! those of the pages. The platform has free ports, and the usual ones in the text are replaced.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use isa_config::ServiceKind;
use isa_services::AVAILABLE;
use isa_testkit::{Finished, Isa};

use crate::{engines_of_services, isa};

/// For one example, in seconds: some start an interpreter on a busy machine.
const LIMIT: &str = "60";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Language {
    Python,
    Shell,
    Rust,
}

impl Language {
    const ALL: [Self; 3] = [Self::Python, Self::Shell, Self::Rust];

    /// Of a block, by what stands behind its fence; other blocks are no examples.
    fn of(fence: &str) -> Option<Self> {
        match fence {
            "python" => Some(Self::Python),
            "sh" => Some(Self::Shell),
            "rust" => Some(Self::Rust),
            _ => None,
        }
    }
}

/// A block and what it prints.
#[derive(Debug)]
struct Example {
    language: Language,
    text: String,
    output: String,
    /// Where the block begins in its page.
    line: usize,
}

/// A page of `docs/building-blocks/`.
struct Page {
    kind: ServiceKind,
    examples: Vec<Example>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// The blocks of a page: what stands behind the fence, the text, the last line before the block that is not empty, and
/// the number of its first line.
fn blocks(page: &str) -> Vec<(String, String, String, usize)> {
    let (mut found, mut before) = (Vec::new(), "");
    let mut lines = page.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(fence) = line.strip_prefix("```") else {
            if !line.trim().is_empty() {
                before = line;
            }
            continue;
        };
        let inside = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```");
        let text: String = inside.flat_map(|line| [line, "\n"]).collect();
        found.push((fence.to_owned(), text, before.to_owned(), number + 1));
        before = "";
    }
    found
}

/// The examples of a page; an error says what it lacks.
fn examples(page: &str) -> Result<Vec<Example>, String> {
    let mut found = Vec::new();
    let mut all = blocks(page).into_iter().peekable();
    while let Some((fence, text, _, line)) = all.next() {
        let Some(language) = Language::of(&fence) else {
            continue;
        };
        let output = all.next_if(|(fence, _, before, _)| fence == "text" && before == "Output:");
        let Some((_, output, ..)) = output else {
            return Err(format!(
                "line {line}: the example has no block of text under `Output:`"
            ));
        };
        found.push(Example {
            language,
            text,
            output,
            line,
        });
    }
    for language in Language::ALL {
        let count = found
            .iter()
            .filter(|example| example.language == language)
            .count();
        if count == 0 || (count > 1 && language == Language::Rust) {
            return Err(format!("there are {count} examples in {language:?}"));
        }
    }
    Ok(found)
}

/// All pages, each with its examples; there is one for every building block.
fn pages() -> Vec<Page> {
    let folder = repository().join("docs/building-blocks");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = name.strip_suffix(".md").and_then(|stem| stem.parse().ok());
        let kind = kind.unwrap_or_else(|| panic!("{name} is not called after a building block"));
        let examples = examples(&fs::read_to_string(&path).unwrap());
        let examples = examples.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        found.push(Page { kind, examples });
    }
    let have: BTreeSet<_> = found.iter().map(|page| page.kind).collect();
    assert_eq!(have, BTreeSet::from(AVAILABLE), "each building block has a page");
    found.sort_by_key(|page| page.kind);
    found
}

/// The program of a Rust example: the page's block, with the address taken from the command line.
fn program(kind: ServiceKind, block: &str) -> String {
    let place = format!("\"http://localhost:{}\"", kind.port());
    assert_eq!(
        block.matches(&place).count(),
        1,
        "{kind}: the Rust example connects to {place} once"
    );
    let head = format!("//! The Rust example of docs/building-blocks/{kind}.md, with another address.\n\n");
    let tail = "\n/// Where the service is: its test has it on another port than the page.\n\
                fn address() -> &'static str {\n    \
                    std::env::args().nth(1).expect(\"an address\").leak()\n\
                }\n";
    let body = block.replace(&place, "address()");
    format!("{head}{body}{tail}")
}

/// Without what rustfmt changes where a line became shorter.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && *c != ',').collect()
}

/// The compiled example of a page.
fn compiled(kind: ServiceKind) -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_isa")).parent().unwrap();
    let path = folder.join(format!("examples/docs_{kind}"));
    assert!(
        path.is_file(),
        "{} is not there; run `make examples`",
        path.display()
    );
    path
}

#[test]
fn pages_are_whole_and_their_rust_is_what_is_compiled() {
    for page in pages() {
        let rust = page
            .examples
            .iter()
            .find(|it| it.language == Language::Rust)
            .unwrap();
        let expected = program(page.kind, &rust.text);
        let name = format!("crates/services/examples/docs_{}.rs", page.kind);
        let found = fs::read_to_string(repository().join(&name)).unwrap_or_default();
        if squeezed(&found) != squeezed(&expected) {
            let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("docs_{}.rs", page.kind));
            fs::write(&made, expected).unwrap();
            panic!(
                "{name} is not the example of the page; take it with `cp {} {name} && cargo fmt`",
                made.display()
            );
        }
    }
}

/// A platform, and where its services are.
struct Node<'a> {
    isa: &'a Isa,
    /// The usual port of each service, and its port here.
    ports: BTreeMap<u16, u16>,
    path: std::ffi::OsString,
}

impl<'a> Node<'a> {
    fn of(isa: &'a Isa) -> Self {
        let text = fs::read(isa.state().join("services.json")).unwrap();
        let services: BTreeMap<ServiceKind, String> = serde_json::from_slice(&text).unwrap();
        let port = |address: &str| address.rsplit(':').next().unwrap().parse().unwrap();
        let ports = services
            .iter()
            .map(|(kind, address)| (kind.port(), port(address)))
            .collect();
        Self {
            isa,
            ports,
            path: path(isa),
        }
    }

    /// The text with the usual ports replaced, where one stands as a number of its own.
    fn moved(&self, text: &str) -> String {
        let is_digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        let mut text = text.to_owned();
        for (usual, port) in &self.ports {
            let (usual, port) = (usual.to_string(), port.to_string());
            let mut parts = text.split(usual.as_str());
            let mut moved = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let inside = is_digit(moved.chars().last()) || is_digit(part.chars().next());
                moved += if inside { &usual } else { &port };
                moved += part;
            }
            text = moved;
        }
        text
    }

    fn run(&self, kind: ServiceKind, example: &Example) -> Finished {
        let mut command = Command::new("timeout");
        command.arg(LIMIT);
        match example.language {
            Language::Python => self.python(&mut command, &example.text),
            Language::Shell => {
                command.args(["sh", "-euc", &self.moved(&example.text)]);
            }
            Language::Rust => {
                command.arg(compiled(kind));
                command.arg(format!("http://localhost:{}", self.ports[&kind.port()]));
            }
        }
        self.finish(command)
    }

    fn python(&self, command: &mut Command, text: &str) {
        let file = self.isa.folder().join("example.py");
        fs::write(&file, self.moved(text)).unwrap();
        command.arg(repository().join("conformance/python"));
        command.args(["-m", "conformance.example"]).arg(file);
        command.args(self.ports.iter().map(|(usual, port)| format!("{usual}={port}")));
    }

    fn finish(&self, mut command: Command) -> Finished {
        command.current_dir(self.isa.folder()).env("PATH", &self.path);
        // What the published client prints is not ASCII.
        command.env("PYTHONUTF8", "1");
        Finished::of(command)
    }
}

/// PATH with grpcurl on it: the machine's, or the one that isa has installed.
fn path(isa: &Isa) -> std::ffi::OsString {
    let config: toml::Table = isa.ok(&["config", "dump"]).stdout.parse().unwrap();
    let cache = Path::new(config["cache_dir"].as_str().unwrap()).join("engines/grpcurl");
    let versions = fs::read_dir(cache).into_iter().flatten().flatten();
    let installed = versions.map(|version| version.path().join("bin"));
    // The test's own PATH is no setting of isa.
    #[allow(clippy::disallowed_methods)]
    let own = env::var("PATH").unwrap_or_default();
    let all: Vec<_> = env::split_paths(&own).chain(installed).collect();
    assert!(
        all.iter().any(|folder| folder.join("grpcurl").is_file()),
        "grpcurl is not there; run `isa engines install grpcurl`"
    );
    env::join_paths(all).unwrap()
}

/// The Python of README: what a line prints stands behind it.
fn readme() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(repository().join("README.md")).unwrap();
    let python = blocks(&text).into_iter().filter(|(fence, ..)| fence == "python");
    let ours = python
        .map(|(_, text, ..)| text)
        .filter(|text| text.contains("isa_common"));
    ours.map(|text| {
        let says = |line: &str| Some(line.split_once("print(")?.1.rsplit_once("  # ")?.1.to_owned());
        let printed = text.lines().filter_map(says).collect();
        (text, printed)
    })
    .collect()
}

#[test]
fn every_example_prints_what_its_page_says() {
    let pages = pages();
    let isa = isa();
    let _up = isa.up(&["--only", &engines_of_services()]);
    let node = Node::of(&isa);
    // The environment is made by its first user, which takes longer than an example may.
    let mut first = Command::new(repository().join("conformance/python"));
    first.args(["-c", ""]);
    let made = Finished::of(first);
    assert_eq!(made.code, Some(0), "{made:?}");
    let mut wrong = Vec::new();
    for page in &pages {
        for example in &page.examples {
            let done = node.run(page.kind, example);
            if done.code != Some(0) || done.stdout.trim_end() != example.output.trim_end() {
                wrong.push(format!(
                    "docs/building-blocks/{}.md, line {}: {:?} ended with {:?} and printed\n{}\nand not\n{}\nand on standard error\n{}",
                    page.kind, example.line, example.language, done.code, done.stdout, example.output, done.stderr
                ));
            }
        }
    }
    let readme = readme();
    assert!(!readme.is_empty(), "README shows the building blocks in Python");
    for (text, printed) in readme {
        let mut command = Command::new("timeout");
        command.arg(LIMIT);
        node.python(&mut command, &text);
        let done = node.finish(command);
        // Between them the published client says what it did.
        let mut lines = done.stdout.lines();
        let all = printed.iter().all(|line| lines.any(|found| found == line));
        if done.code != Some(0) || printed.is_empty() || !all {
            wrong.push(format!("README.md: expected {printed:#?}, found {done:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_page_that_lacks_something_is_refused() {
    let example = |fence: &str| format!("```{fence}\n1\n```\n\nOutput:\n\n```text\n1\n```\n\n");
    let whole = ["python", "sh", "rust"].map(example).concat();
    assert_eq!(examples(&whole).unwrap().len(), 3);
    let refused = |page: &str, why: &str| {
        let said = examples(page).unwrap_err();
        assert!(said.contains(why), "{said}");
    };
    refused(&whole.replace("```sh", "```console"), "0 examples in Shell");
    refused(&format!("{whole}{}", example("rust")), "2 examples in Rust");
    refused(
        &whole.replacen("Output:", "It prints:", 1),
        "line 1: the example has no",
    );
    refused("```python\n1\n```\n", "line 1: the example has no");
}
