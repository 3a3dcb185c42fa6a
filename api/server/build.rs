//! Tells the macros of the OpenAPI schemas that our `Time` is a point in time.

fn main() {
    utoipa_config::Config::new().alias_for("Time", "DateTime").write_to_file();
}
