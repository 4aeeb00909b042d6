//! Writes first inputs: the golden frames into the corpus of `frames`, each behind the two bytes for its
//! settings, and the selectors of the comparison with ActiveMQ into that of `selectors`.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

/// Longer frames only slow a fuzzer down.
const FRAME_BYTES_MAX: usize = 1024;

fn main() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = here.join("corpus/frames");
    fs::create_dir_all(&corpus).unwrap();
    let files = ["v1", "v3", "v6", "v10", "v12", "cache", "special", "malformed"];
    let mut written = 0;
    for name in files {
        let file = fs::File::open(here.join(format!("../vectors/{name}.jsonl.gz"))).unwrap();
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line: Value = serde_json::from_str(line).unwrap();
            let seed = seed(&line);
            if seed.len() <= FRAME_BYTES_MAX {
                fs::write(corpus.join(format!("{name}-{number}")), seed).unwrap();
                written += 1;
            }
        }
    }
    println!("{written} seeds in {}", corpus.display());
    write_selectors(here);
}

/// The first column of the table. Blanks are escaped there, which does no harm to a seed.
fn write_selectors(here: &Path) {
    let corpus = here.join("corpus/selectors");
    fs::create_dir_all(&corpus).unwrap();
    let table = fs::read_to_string(here.join("../selector/activemq.tsv")).unwrap();
    let is_case = |line: &&str| !line.starts_with("property\t") && !line.starts_with('#');
    let selectors = table.lines().filter(is_case).filter_map(|line| line.split_once('\t'));
    let mut written = 0;
    for (selector, _) in selectors {
        fs::write(corpus.join(format!("table-{written}")), selector).unwrap();
        written += 1;
    }
    println!("{written} seeds in {}", corpus.display());
}

/// Settings as `targets/frames.rs` reads them, and the payload.
fn seed(line: &Value) -> Vec<u8> {
    let flag = |key: &str, bit: u8| if line[key] == true { bit } else { 0 };
    let version = u8::try_from(line["version"].as_u64().unwrap() - 1).unwrap();
    let no_prefix = line["sizePrefix"] == false;
    let first = version | flag("tight", 0x10) | flag("stackTrace", 0x20) | u8::from(no_prefix) << 6;
    let frame = line["frame"].as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes = frame.chunks(2).map(byte).skip(if no_prefix { 0 } else { 4 });
    [first, flag("cache", 2)].into_iter().chain(bytes).collect()
}
