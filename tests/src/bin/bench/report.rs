//! The table and the JSON.

use std::path::Path;

use serde::Serialize;

/// One figure. `ratio` is value over peer for speeds, peer (the bound) over value for sizes and times: above 1 is good.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) peer: String,
    pub(crate) peer_value: f64,
    pub(crate) ratio: f64,
    pub(crate) settings: String,
}

#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Figure>);

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
    pub(crate) fn faster(
        &mut self,
        name: String,
        value: f64,
        unit: &'static str,
        peer: &str,
        peer_value: f64,
        settings: &str,
    ) {
        self.add(name, value, unit, peer, peer_value, value / peer_value, settings);
    }
    pub(crate) fn below(&mut self, name: String, value: f64, unit: &'static str, bound: f64, settings: &str) {
        self.add(name, value, unit, "bound", bound, bound / value, settings);
    }

    #[expect(clippy::too_many_arguments, reason = "a row of a table")]
    fn add(
        &mut self,
        name: String,
        value: f64,
        unit: &'static str,
        peer: &str,
        peer_value: f64,
        ratio: f64,
        settings: &str,
    ) {
        let figure = Figure {
            name,
            value,
            unit,
            peer: peer.to_owned(),
            peer_value,
            ratio,
            settings: settings.to_owned(),
        };
        eprintln!("  {figure:?}");
        self.0.push(figure);
    }

    pub(crate) fn print(&self) {
        println!(
            "{:<34} {:>12} {:<12} {:>12}  {:<28} {:>6}  settings",
            "figure", "value", "unit", "peer", "peer is", "ratio"
        );
        for f in &self.0 {
            println!(
                "{:<34} {:>12.1} {:<12} {:>12.1}  {:<28} {:>6.2}  {}",
                f.name, f.value, f.unit, f.peer_value, f.peer, f.ratio, f.settings
            );
        }
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(&self.0)?)?;
        println!("written to {}", path.display());
        Ok(())
    }
}
