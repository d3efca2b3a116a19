//! Writes small databases of MaxMind's format (MaxMind DB file format 2.0), for addresses of IPv4.

/// A value of a record.
pub enum Value {
    Text(&'static str),
    Number(u32),
    Degrees(f64),
    Map(Vec<(&'static str, Value)>),
}

/// A database: prefixes and their records.
pub struct Mmdb(Vec<(&'static str, Value)>);

/// A country, city or place database of two networks of documentation (RFC 5737).
pub fn city() -> Mmdb {
    let place = |country, continent, city, latitude, longitude| {
        Value::Map(vec![
            ("country", Value::Map(vec![("iso_code", Value::Text(country))])),
            ("continent", Value::Map(vec![("code", Value::Text(continent))])),
            ("city", Value::Map(vec![("names", Value::Map(vec![("en", Value::Text(city))]))])),
            (
                "location",
                Value::Map(vec![
                    ("latitude", Value::Degrees(latitude)),
                    ("longitude", Value::Degrees(longitude)),
                ]),
            ),
        ])
    };
    Mmdb::new([
        ("203.0.113.0/24", place("NZ", "OC", "Wellington", -41.25, 174.75)),
        ("198.51.100.0/24", place("BR", "SA", "Recife", -8.0, -34.875)),
    ])
}

/// A database of autonomous systems, of the first of those networks.
pub fn asn() -> Mmdb {
    let system = Value::Map(vec![
        ("autonomous_system_number", Value::Number(64_500)),
        ("autonomous_system_organization", Value::Text("Example Net")),
    ]);
    Mmdb::new([("203.0.113.0/24", system)])
}

impl Mmdb {
    pub fn new(records: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        Self(records.into_iter().collect())
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        // A node's two sides: another node, a place in the data, or nothing.
        let mut nodes: Vec<[Option<Side>; 2]> = vec![[None; 2]];
        let mut data = Vec::new();
        for (prefix, value) in &self.0 {
            let (address, length) = prefix.split_once('/').unwrap();
            let bits = u32::from(address.parse::<std::net::Ipv4Addr>().unwrap());
            let length: u32 = length.parse().unwrap();
            let mut node = 0;
            for depth in 0..length - 1 {
                let side = bit(bits, depth);
                node = match nodes[node][side] {
                    Some(Side::Node(next)) => next,
                    _ => {
                        nodes.push([None; 2]);
                        nodes[node][side] = Some(Side::Node(nodes.len() - 1));
                        nodes.len() - 1
                    }
                };
            }
            nodes[node][bit(bits, length - 1)] = Some(Side::Data(data.len()));
            write(&mut data, value);
        }
        let mut file = Vec::new();
        for side in nodes.iter().flatten() {
            let number = match side {
                None => nodes.len(),
                Some(Side::Node(node)) => *node,
                Some(Side::Data(at)) => nodes.len() + 16 + at,
            };
            file.extend(&(number as u32).to_be_bytes()[1..]);
        }
        file.extend([0; 16]);
        file.extend(data);
        file.extend(b"\xab\xcd\xefMaxMind.com");
        file.extend(metadata(nodes.len() as u32));
        file
    }
}

#[derive(Clone, Copy)]
enum Side {
    Node(usize),
    Data(usize),
}

fn bit(bits: u32, depth: u32) -> usize {
    (bits >> (31 - depth) & 1) as usize
}

fn metadata(nodes: u32) -> Vec<u8> {
    let short = |n: u16| [vec![5 << 5 | 2], n.to_be_bytes().to_vec()].concat();
    let text = |t| {
        let mut out = Vec::new();
        write(&mut out, &Value::Text(t));
        out
    };
    let mut number = Vec::new();
    write(&mut number, &Value::Number(nodes));
    let fields = [
        ("node_count", number),
        ("record_size", short(24)),
        ("ip_version", short(4)),
        ("database_type", text("Test")),
        ("languages", vec![0, 11 - 7]),
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        // An unsigned number of 64 bits, without bytes: 0.
        ("build_epoch", vec![0, 9 - 7]),
        ("description", vec![7 << 5]),
    ];
    let mut out = vec![7 << 5 | fields.len() as u8];
    for (name, value) in fields {
        write(&mut out, &Value::Text(name));
        out.extend(value);
    }
    out
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => {
            match text.len() {
                short @ 0..29 => out.push(2 << 5 | short as u8),
                long => out.extend([2 << 5 | 29, u8::try_from(long - 29).unwrap()]),
            }
            out.extend(text.bytes());
        }
        Value::Number(number) => {
            out.push(6 << 5 | 4);
            out.extend(number.to_be_bytes());
        }
        Value::Degrees(degrees) => {
            out.push(3 << 5 | 8);
            out.extend(degrees.to_be_bytes());
        }
        Value::Map(fields) => {
            out.push(7 << 5 | fields.len() as u8);
            for (name, value) in fields {
                write(out, &Value::Text(name));
                write(out, value);
            }
        }
    }
}
