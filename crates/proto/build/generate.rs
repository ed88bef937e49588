//! Code about the messages and methods of the contract that neither prost nor tonic generates.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost_types::{
    DescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
    method_options::IdempotencyLevel,
};

const REQUEST_METADATA: &str = ".isa.common.RequestMetadata";
const RESPONSE_METADATA: &str = ".isa.common.ResponseMetadata";

type Messages<'a> = BTreeMap<String, &'a DescriptorProto>;

fn messages(set: &FileDescriptorSet) -> Messages<'_> {
    set.file
        .iter()
        .flat_map(|file| {
            file.message_type
                .iter()
                .map(|message| (format!(".{}.{}", file.package(), message.name()), message))
        })
        .collect()
}

/// The services with their packages.
fn services(set: &FileDescriptorSet) -> impl Iterator<Item = (&str, &ServiceDescriptorProto)> {
    set.file
        .iter()
        .flat_map(|file| file.service.iter().map(|service| (file.package(), service)))
}

fn all_methods(set: &FileDescriptorSet) -> impl Iterator<Item = &MethodDescriptorProto> {
    services(set).flat_map(|(_, service)| &service.method)
}

/// `.isa.redis.GetRequest` as `crate::redis::GetRequest`.
fn rust_path(name: &str) -> String {
    let (package, name) = name
        .trim_start_matches(".isa.")
        .split_once('.')
        .unwrap_or(("", name));
    format!("crate::{package}::{}", name.to_upper_camel_case())
}

fn has(message: &DescriptorProto, field: &str) -> bool {
    message.field.iter().any(|it| it.name() == field)
}

fn has_metadata(message: &DescriptorProto, r#type: &str) -> bool {
    message
        .field
        .iter()
        .any(|it| it.name() == "metadata" && it.type_name() == r#type)
}

/// An expression of type `Identity`, of the fields that the message behind `place` has itself; none if it has none.
fn own_fields(message: &DescriptorProto, place: &str) -> Option<String> {
    let fields: String = ["user_id", "organization_id"]
        .into_iter()
        .filter(|field| has(message, field))
        .map(|field| format!("{field}: &{place}.{field}, "))
        .collect();
    (!fields.is_empty()).then(|| format!("Identity {{ {fields}..Identity::default() }}"))
}

/// `impl Identified` for every request, `impl Answer` for every response.
pub(crate) fn identities(set: &FileDescriptorSet) -> String {
    let messages = messages(set);
    let mut code = String::new();
    let requests: BTreeSet<&str> = all_methods(set).map(MethodDescriptorProto::input_type).collect();
    for name in requests {
        let message = messages[name];
        let path = rust_path(name);
        let expression = if has_metadata(message, REQUEST_METADATA) {
            "self.metadata.as_ref().map(Identity::from).unwrap_or_default()".to_owned()
        } else if let Some(own) = own_fields(message, "self") {
            own
        } else {
            in_first_message(&messages, name, message).unwrap_or_else(|| "Identity::default()".to_owned())
        };
        let _ = writeln!(
            code,
            "impl Identified for {path} {{ fn identity(&self) -> Identity<'_> {{ {expression} }} }}"
        );
    }
    let responses: BTreeSet<&str> = all_methods(set).map(MethodDescriptorProto::output_type).collect();
    for name in responses {
        let body = if has_metadata(messages[name], RESPONSE_METADATA) {
            "fn metadata(&mut self) -> Option<&mut Option<crate::common::ResponseMetadata>> { Some(&mut self.metadata) }"
        } else {
            ""
        };
        let _ = writeln!(code, "impl Answer for {} {{ {body} }}", rust_path(name));
    }
    code
}

/// Uploads say who they are in their first message, one of several kinds.
fn in_first_message(messages: &Messages<'_>, name: &str, message: &DescriptorProto) -> Option<String> {
    message.field.iter().find_map(|field| {
        let oneof = &message.oneof_decl[usize::try_from(field.oneof_index?).ok()?];
        let own = own_fields(messages.get(field.type_name())?, "first")?;
        let (package, _) = rust_path(name).rsplit_once("::").map(|(a, b)| (a.to_owned(), b.to_owned()))?;
        Some(format!(
            "match &self.{field} {{ Some({package}::{module}::{kind}::{variant}(first)) => {own}, _ => Identity::default() }}",
            field = oneof.name(),
            module = message.name().to_snake_case(),
            kind = oneof.name().to_upper_camel_case(),
            variant = field.name().to_upper_camel_case(),
        ))
    })
}

/// The table of methods.
pub(crate) fn methods(set: &FileDescriptorSet) -> String {
    let messages = messages(set);
    let mut code = String::from("&[\n");
    for (package, service) in services(set) {
        let service_name = format!("{package}.{}", service.name());
        for method in &service.method {
            let level = method
                .options
                .as_ref()
                .map_or_else(Default::default, |options| options.idempotency_level());
            let _ = writeln!(
                code,
                "Method {{ service: {service_name:?}, name: {name:?}, path: {path:?}, reads_only: {reads_only}, \
                 idempotent: {idempotent}, client_streaming: {client}, server_streaming: {server}, \
                 token_in_request: {token} }},",
                name = method.name(),
                path = format!("/{service_name}/{}", method.name()),
                reads_only = level == IdempotencyLevel::NoSideEffects,
                idempotent = level != IdempotencyLevel::IdempotencyUnknown,
                client = method.client_streaming(),
                server = method.server_streaming(),
                token = has_metadata(messages[method.input_type()], REQUEST_METADATA),
            );
        }
    }
    code.push(']');
    code
}
