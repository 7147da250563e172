//! The bodies of the fuzz targets over a corpus mutated from a fixed seed.

#[path = "../../../fuzz/bodies.rs"]
mod bodies;

/// Inputs for each target.
const INPUTS: usize = 20_000;

const REQUESTS: [&str; 6] = [
    r#"{"model":"м","messages":[{"role":"system","content":"Кратко"},{"role":"user","content":[{"type":"text","text":"При\u0432ет 👋"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]},{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}],"stop":["Я"],"seed":3,"stream":true,"n":2}"#,
    r#"{"model":"m","input":[{"role":"user","content":"Да"},{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"}],"text":{"format":{"type":"json_object"}}}"#,
    r#"{"model":"m","prompt":["Раз","два"],"max_tokens":5,"stop":"\n","echo":false}"#,
    r#"{"model":"m","input":["кот",""],"encoding_format":"base64","dimensions":8}"#,
    r#"{"model":"m","max_tokens":9,"system":"С","messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"1"},{"type":"text","text":"\ud83d\udc4b"}]}]}"#,
    r#"{"a":[1,-2.5e+3,true,null,{"model":"x","b":"\ud800"}],"stream" : true , "llm_proxy":{}}"#,
];

const ANSWERS: [&str; 7] = [
    "data: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"При👋\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
    "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":1}}}\r\n\r\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Да\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\\u041f👋\"},\"index\":0}],\"model\":\"GigaChat\",\"created\":1}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"\",\"function_call\":{\"name\":\"f\",\"arguments\":{\"a\":1}},\"functions_state_id\":\"0198c1a2-1111-4222-8333-444455556666\"},\"index\":0,\"finish_reason\":\"function_call\"}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
    "{\"result\":{\"alternatives\":[{\"message\":{\"role\":\"assistant\",\"text\":\"При\"},\"status\":\"ALTERNATIVE_STATUS_PARTIAL\"}]}}\n{\"result\":{\"alternatives\":[{\"message\":{\"role\":\"assistant\",\"text\":\"Привет👋\"},\"status\":\"ALTERNATIVE_STATUS_FINAL\"}],\"usage\":{\"inputTextTokens\":\"1\",\"completionTokens\":\"2\"}}}\n",
    r#"{"error":{"message":"Нет","type":"t","param":null,"code":400,"grpcCode":3,"httpCode":400}}"#,
    r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Да","function_call":{"name":"f","arguments":{}}},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#,
    "data: {\"status\":500,\"message\":\"Internal Server Error\"}\n\n: ping\nid: 1\nretry\ndata\ndata:x\r\rdata: y",
];

/// Pieces that break parsers more often than random bytes do.
const TOKENS: [&str; 18] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "\\u",
    "\\ud83d",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "\n\n",
    "\r",
    "data: ",
    "ё",
];

/// A linear congruential generator (Knuth's MMIX constants): the same inputs in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    fn mutated(&mut self, corpus: &[&str]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].as_bytes().to_vec();
        for _ in 0..self.below(5) {
            let at = self.below(input.len() + 1);
            let end = (at + self.below(12)).min(input.len());
            let piece = match self.below(5) {
                0 => Vec::new(),
                1 => vec![u8::try_from(self.below(256)).unwrap()],
                2 => input[at..end].repeat(2),
                3 => {
                    let other = corpus[self.below(corpus.len())].as_bytes();
                    other[self.below(other.len())..].to_vec()
                }
                _ => TOKENS[self.below(TOKENS.len())].as_bytes().to_vec(),
            };
            input.splice(at..end, piece);
        }
        input
    }

    fn cut(&mut self, input: &[u8]) -> u16 {
        u16::try_from(self.below(input.len() + 1)).unwrap_or(u16::MAX)
    }
}

#[test]
fn bodies_of_callers() {
    let mut random = Random(1);
    for _ in 0..INPUTS {
        let input = random.mutated(&REQUESTS);
        bodies::request_bodies(&input);
        bodies::json_outline(&input);
    }
}

#[test]
fn events_of_streams() {
    let mut random = Random(2);
    for _ in 0..INPUTS {
        let input = random.mutated(&ANSWERS);
        bodies::sse(random.cut(&input), &input);
    }
}

#[test]
fn answers_of_providers() {
    let mut random = Random(3);
    for _ in 0..INPUTS {
        let input = random.mutated(&ANSWERS);
        bodies::provider_answers(random.cut(&input), &input);
    }
}
