//! Writes the client from `openapi.json`: the types (by typify), and a method for each operation.
//!
//! The document is what the server serves; its test `openapi` fails if it is not, and says how to renew it.

mod operations;
mod types;

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=openapi.json");
    println!("cargo::rerun-if-changed=build");
    let document: Value = serde_json::from_str(&fs::read_to_string("openapi.json")?)?;
    let out = env::var("OUT_DIR")?;
    let write = |name: &str, tokens| -> Result<(), Box<dyn Error>> {
        Ok(fs::write(Path::new(&out).join(name), prettyplease::unparse(&syn::parse2(tokens)?))?)
    };
    write("types.rs", types::of(&document)?)?;
    write("operations.rs", operations::of(&document)?)
}
