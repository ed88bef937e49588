//! Generates, for each service of the contract, the trait that its implementation fills, and the guard between that
//! and tonic, through which every call is admitted. See `src/guard.rs` for what the guard does.

use std::{collections::BTreeMap, env, error::Error, fmt::Write, fs, path::PathBuf};

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet, ServiceDescriptorProto};

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo's variables, not the configuration's. The first comes from the build script of isa-proto.
    #[allow(clippy::disallowed_methods)]
    let (descriptors, out) = (
        env::var("DEP_ISA_PROTO_DESCRIPTORS")?,
        PathBuf::from(env::var("OUT_DIR")?),
    );
    println!("cargo:rerun-if-changed={descriptors}");
    let set = FileDescriptorSet::decode(&fs::read(descriptors)?[..])?;
    let mut code = String::new();
    for file in &set.file {
        for (index, service) in (0..).zip(&file.service) {
            generate(&mut code, file, index, service)?;
        }
    }
    fs::write(out.join("api.rs"), code)?;
    Ok(())
}

fn generate(
    code: &mut String,
    file: &FileDescriptorProto,
    index: i32,
    service: &ServiceDescriptorProto,
) -> Result<(), std::fmt::Error> {
    let package = file.package().trim_start_matches("isa.");
    let name = service.name().to_upper_camel_case();
    let server = format!("{}_server", service.name().to_snake_case());
    let comments = comments(file);
    let mut methods = String::new();
    let mut guards = String::new();
    for (place, method) in (0..).zip(&service.method) {
        let doc = comments.get(&vec![6, index, 2, place]).map_or("", String::as_str);
        for line in doc.lines() {
            writeln!(methods, "    ///{line}")?;
        }
        let function = keyword_free(method.name().to_snake_case());
        let (input, output) = (message(method.input_type()), message(method.output_type()));
        let (client, server) = (method.client_streaming(), method.server_streaming());
        let taken = if client {
            format!("Requests<{input}>")
        } else {
            input.clone()
        };
        let given = if server {
            format!("Replies<{output}>")
        } else {
            output.clone()
        };
        writeln!(
            methods,
            "    fn {function}(&self, call: Call, request: {taken}) -> impl Future<Output = Result<{given}, Error>> + Send;"
        )?;
        let received = if client {
            format!("tonic::Streaming<{input}>")
        } else {
            input
        };
        let sent = if server {
            format!("guard::StatusStream<{output}>")
        } else {
            output
        };
        if server {
            writeln!(
                guards,
                "        type {}Stream = {sent};",
                // As tonic writes it: unchanged.
                method.name()
            )?;
        }
        let shape = match (client, server) {
            (false, false) => "unary",
            (false, true) => "replies",
            (true, false) => "requests",
            // The contract has none; the guard for it is to be written with the first.
            (true, true) => "both",
        };
        writeln!(
            guards,
            "        async fn {function}(&self, request: tonic::Request<{received}>) -> Result<tonic::Response<{sent}>, tonic::Status> {{ \
             guard::{shape}(request, |call, request| self.0.{function}(call, request)).await }}"
        )?;
    }
    let service_doc = comments.get(&vec![6, index]).map_or("", String::as_str);
    writeln!(
        code,
        "/// `{}.{}`.\npub mod {package} {{",
        file.package(),
        service.name()
    )?;
    writeln!(code, "    use super::*;\n    use isa_proto::{package} as pb;")?;
    for line in service_doc.lines() {
        writeln!(code, "    ///{line}")?;
    }
    writeln!(
        code,
        "    pub trait {name}: Send + Sync + 'static {{\n{methods}    }}"
    )?;
    writeln!(
        code,
        "    struct Guard<S>(S);\n    #[tonic::async_trait]\n    impl<S: {name}> pb::{server}::{name} for Guard<S> {{\n{guards}    }}"
    )?;
    writeln!(
        code,
        "    /// The implementation, ready to be mounted.\n    pub fn mount(service: impl {name}) -> Mount {{ \
         mounted!(ServiceKind::{kind}, pb::{server}::{name}Server::new(Guard(service))) }}\n}}",
        kind = package.to_upper_camel_case(),
    )
}

/// Comments by the path of what they explain.
fn comments(file: &FileDescriptorProto) -> BTreeMap<Vec<i32>, String> {
    let locations = file.source_code_info.iter().flat_map(|source| &source.location);
    locations
        .filter_map(|location| Some((location.path.clone(), location.leading_comments.clone()?)))
        .collect()
}

/// `.isa.redis.GetRequest` as `isa_proto::redis::GetRequest`.
fn message(name: &str) -> String {
    let (package, name) = name
        .trim_start_matches(".isa.")
        .split_once('.')
        .unwrap_or_default();
    format!("isa_proto::{package}::{}", name.to_upper_camel_case())
}

/// Names of methods that are words of Rust, as prost writes them.
fn keyword_free(name: String) -> String {
    match name.as_str() {
        "match" | "move" | "type" | "loop" | "yield" | "await" => format!("r#{name}"),
        _ => name,
    }
}
