//! The contract keeps all that the published client has, and says what it means.
//!
//! The reference is the descriptor set that isa-common 0.2.3 carries. It is never edited.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
};

/// Fields that the published client does not have begin here, out of the way of its later versions.
const ADDITIONS: i32 = 100;

/// What of a field must not change.
#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: String,
    r#type: i32,
    type_name: String,
    label: i32,
    optional: bool,
    oneof: Option<String>,
}

/// Names with what stands under them, as the wire knows them.
#[derive(Default)]
struct Contract {
    files: BTreeMap<String, String>,
    messages: BTreeMap<String, BTreeMap<i32, Field>>,
    enums: BTreeMap<String, BTreeSet<(String, i32)>>,
    methods: BTreeMap<String, (String, String, bool, bool)>,
}

impl Contract {
    fn of(set: &FileDescriptorSet) -> Self {
        let mut contract = Self::default();
        for file in our_files(set) {
            contract.files.insert(file.name().into(), file.package().into());
            for message in &file.message_type {
                contract.add_message(file.package(), message);
            }
            for r#enum in &file.enum_type {
                contract.add_enum(file.package(), r#enum);
            }
            for service in &file.service {
                for method in &service.method {
                    contract.methods.insert(
                        format!("{}.{}/{}", file.package(), service.name(), method.name()),
                        (
                            method.input_type().into(),
                            method.output_type().into(),
                            method.client_streaming(),
                            method.server_streaming(),
                        ),
                    );
                }
            }
        }
        contract
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.add_message(&name, nested);
        }
        for r#enum in &message.enum_type {
            self.add_enum(&name, r#enum);
        }
        let fields = message
            .field
            .iter()
            .map(|field| (field.number(), Field::of(field, message)));
        self.messages.insert(name, fields.collect());
    }

    fn add_enum(&mut self, scope: &str, r#enum: &EnumDescriptorProto) {
        let values = r#enum
            .value
            .iter()
            .map(|value| (value.name().to_owned(), value.number()));
        self.enums
            .insert(format!("{scope}.{}", r#enum.name()), values.collect());
    }
}

impl Field {
    fn of(field: &FieldDescriptorProto, message: &DescriptorProto) -> Self {
        Self {
            name: field.name().into(),
            r#type: field.r#type.unwrap_or_default(),
            type_name: field.type_name().into(),
            label: field.label.unwrap_or_default(),
            optional: field.proto3_optional(),
            oneof: field
                .oneof_index
                .map(|index| message.oneof_decl[index as usize].name().into()),
        }
    }
}

fn our_files(set: &FileDescriptorSet) -> impl Iterator<Item = &FileDescriptorProto> {
    set.file
        .iter()
        .filter(|file| !file.package().starts_with("google."))
}

fn ours() -> FileDescriptorSet {
    FileDescriptorSet::decode(isa_proto::FILE_DESCRIPTOR_SET).expect("our descriptors")
}

fn reference() -> FileDescriptorSet {
    FileDescriptorSet::decode(&include_bytes!("isa-common-0.2.3.binpb")[..]).expect("the reference")
}

/// All that `want` has and `have` has not, or has otherwise.
fn differences(have: &Contract, want: &Contract) -> Vec<String> {
    let mut found = Vec::new();
    for (name, package) in &want.files {
        if have.files.get(name) != Some(package) {
            found.push(format!("file {name} of package {package} is missing"));
        }
    }
    for (name, fields) in &want.messages {
        let Some(present) = have.messages.get(name) else {
            found.push(format!("message {name} is missing"));
            continue;
        };
        for (number, field) in fields {
            if present.get(number) != Some(field) {
                found.push(format!(
                    "{name} field {number}: have {:?}, want {field:?}",
                    present.get(number)
                ));
            }
        }
    }
    for (name, values) in &want.enums {
        let present = have.enums.get(name).cloned().unwrap_or_default();
        for value in values.difference(&present) {
            found.push(format!("enum {name}: {value:?} is missing"));
        }
    }
    for (name, types) in &want.methods {
        if have.methods.get(name) != Some(types) {
            found.push(format!(
                "method {name}: have {:?}, want {types:?}",
                have.methods.get(name)
            ));
        }
    }
    found
}

#[test]
fn everything_published_is_kept() {
    let want = Contract::of(&reference());
    assert_eq!(want.methods.len(), 275, "the reference is whole");
    assert_eq!(differences(&Contract::of(&ours()), &want), Vec::<String>::new());
}

#[test]
fn a_change_is_seen() {
    let want = Contract::of(&reference());
    let mut changed = reference();
    let redis = changed
        .file
        .iter_mut()
        .find(|file| file.package() == "isa.redis")
        .unwrap();
    redis.message_type[0].field[0].number = Some(7);
    redis.service[0].method[0].server_streaming = Some(true);
    redis.service[0].method.pop();
    redis.enum_type[0].value.pop();
    assert_eq!(differences(&Contract::of(&changed), &want).len(), 4);
}

#[test]
fn fields_added_to_published_messages_begin_at_100() {
    let (ours, reference) = (Contract::of(&ours()), Contract::of(&reference()));
    let misplaced: Vec<String> = reference
        .messages
        .iter()
        .flat_map(|(name, published)| {
            ours.messages[name]
                .iter()
                .filter(|(number, _)| !published.contains_key(number) && **number < ADDITIONS)
                .map(move |(number, field)| format!("{name}.{} = {number}", field.name))
        })
        .collect();
    assert_eq!(misplaced, Vec::<String>::new());
}

/// Numbers of the fields in `descriptor.proto`, by which comments are found.
mod path {
    pub(super) const MESSAGES: i32 = 4;
    pub(super) const ENUMS: i32 = 5;
    pub(super) const SERVICES: i32 = 6;
    pub(super) const METHODS: i32 = 2;
}

#[test]
fn services_methods_messages_and_enums_are_explained() {
    let set = ours();
    let mut silent = Vec::new();
    for file in our_files(&set) {
        let explained: BTreeSet<&[i32]> = file
            .source_code_info
            .iter()
            .flat_map(|source| &source.location)
            .map(|location| location.path.as_slice())
            .collect();
        let mut ask = |path: &[i32], name: &str| {
            if !explained.contains(path) {
                silent.push(format!("{}.{name}", file.package()));
            }
        };
        for (index, message) in (0..).zip(&file.message_type) {
            ask(&[path::MESSAGES, index], message.name());
        }
        for (index, r#enum) in (0..).zip(&file.enum_type) {
            ask(&[path::ENUMS, index], r#enum.name());
        }
        for (index, service) in (0..).zip(&file.service) {
            ask(&[path::SERVICES, index], service.name());
            for (place, method) in (0..).zip(&service.method) {
                ask(&[path::SERVICES, index, path::METHODS, place], method.name());
            }
        }
    }
    assert_eq!(silent, Vec::<String>::new());
}
