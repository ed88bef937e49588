//! Writes the contract's FileDescriptorSet to standard output, for tools that compare or generate from it.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    io::stdout().write_all(isa_proto::FILE_DESCRIPTOR_SET)
}
