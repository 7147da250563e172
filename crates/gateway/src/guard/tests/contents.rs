use proptest::prelude::*;

use super::*;

fn request(body: &str) -> Vec<(Channel, String, String)> {
    let texts = of_request(body.as_bytes());
    texts.into_iter().map(|text| (text.channel, text.place, text.text)).collect()
}

fn said(channel: Channel, place: &str, text: &str) -> (Channel, String, String) {
    (channel, place.to_owned(), text.to_owned())
}

#[test]
fn each_message_is_a_text_of_its_channel() {
    let body = r#"{"model":"m","messages":[
        {"role":"system","content":"Будь краток"},
        {"content":[{"type":"text","text":"Раз"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}},{"type":"text","text":"два"}],"role":"user","name":"Иван"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"find","arguments":"{\"inn\": \"7707\"}"}}]},
        {"role":"tool","tool_call_id":"c","content":"нашёл"}],
        "tools":[{"type":"function","function":{"name":"find","description":"ищет","parameters":{"type":"object","properties":{"inn":{"type":"string","description":"ИНН"}}}}}],
        "user":"ivan@example.ru","stop":["x"],"llm_proxy":{"tags":["t"]}}"#;
    assert_eq!(
        request(body),
        [
            said(Channel::System, "messages[0]", "Будь краток"),
            said(Channel::User, "messages[1]", "Раз\nдва\nИван"),
            said(Channel::Assistant, "messages[2]", r#"{"inn": "7707"}"#),
            said(Channel::ToolResult, "messages[3]", "нашёл"),
            said(Channel::ToolDescription, "tools", "ищет\nИНН"),
            said(Channel::User, "user", "ivan@example.ru"),
        ]
    );
}

#[test]
fn anthropic_and_responses_are_read_too() {
    let anthropic = r#"{"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[
        {"type":"text","text":"до"},{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"итог"}]},
        {"type":"document","source":{"type":"text","media_type":"text/plain","data":"d"},"title":"файл"},{"type":"text","text":"после"}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{"телефон":79161234567,"кому":{"имя":"Иван"}}}]}]}"#;
    assert_eq!(
        request(anthropic),
        [
            said(Channel::System, "system", "s"),
            said(Channel::User, "messages[0]", "до"),
            said(Channel::ToolResult, "messages[0]", "итог"),
            said(Channel::Document, "messages[0]", "d\nфайл"),
            said(Channel::User, "messages[0]", "после"),
            said(Channel::Assistant, "messages[1]", "телефон: 79161234567\nимя: Иван"),
        ]
    );
    let responses = r#"{"instructions":"i","input":[{"role":"user","content":"q"},
        {"type":"function_call","call_id":"c","name":"n","arguments":"{}"},
        {"type":"function_call_output","call_id":"c","output":"o"}]}"#;
    assert_eq!(
        request(responses),
        [
            said(Channel::System, "instructions", "i"),
            said(Channel::User, "input[0]", "q"),
            said(Channel::Assistant, "input[1]", "{}"),
            said(Channel::ToolResult, "input[2]", "o"),
        ]
    );
    assert_eq!(request(r#"{"input":["a","b"]}"#).len(), 2);
    assert_eq!(request(r#"{"input":"a"}"#), [said(Channel::User, "input", "a")]);
}

fn edited(body: &str, find: &str, by: &str) -> serde_json::Value {
    let texts = of_request(body.as_bytes());
    let edits: Vec<Edit> = texts
        .iter()
        .enumerate()
        .filter_map(|(text, content)| {
            let start = content.text.find(find)?;
            Some(Edit { text, span: start..start + find.len(), by: by.to_owned() })
        })
        .collect();
    assert!(!edits.is_empty(), "{find} is not in {texts:?}");
    serde_json::from_slice(&rewritten(body.as_bytes(), &texts, &edits)).unwrap()
}

#[test]
fn edits_change_only_what_they_name() {
    let body = r#"{"x":1,"messages":[{"role":"user","content":"Я \"Иван\"\u000a Петров 🎉"}]}"#;
    let new = edited(body, "Иван", "<P>");
    assert_eq!(new["messages"][0]["content"], "Я \"<P>\"\n Петров 🎉");
    assert_eq!(new["x"], 1);
}

#[test]
fn what_is_split_over_parts_is_replaced_in_both() {
    let body = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"паспорт 4508"},{"type":"text","text":"123456 выдан"}]}]}"#;
    let new = edited(body, "4508\n123456", "<P>");
    let content = &new["messages"][0]["content"];
    assert_eq!(
        (&content[0]["text"], &content[1]["text"]),
        (&"паспорт <P>".into(), &" выдан".into())
    );
}

#[test]
fn arguments_stay_json() {
    let body = r#"{"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"inn\": 7707083893, \"who\": \"\\u0418\\u0432\\u0430\\u043d \\\"\\n\"}"}}]}]}"#;
    for (find, by) in [("7707083893", "<INN>"), ("Иван", "<P>")] {
        let new = edited(body, find, by);
        let arguments =
            new["messages"][0]["tool_calls"][0]["function"]["arguments"].as_str().unwrap();
        let arguments: serde_json::Value = serde_json::from_str(arguments).unwrap();
        assert!(arguments.to_string().contains(by), "{arguments}");
    }
    let input = r#"{"messages":[{"role":"assistant","content":[{"type":"tool_use","name":"f","input":{"inn":7707083893}}]}]}"#;
    let new = edited(input, "7707083893", "<INN>");
    assert_eq!(new["messages"][0]["content"][0]["input"]["inn"], "<INN>");
}

#[test]
fn answers_are_read_where_models_speak() {
    for body in [
        r#"{"id":"x","choices":[{"message":{"role":"assistant","content":"да","tool_calls":[{"function":{"name":"f","arguments":"{\"a\":1}"}}]},"logprobs":{"content":[{"token":"t"}]}}],"usage":{"prompt_tokens":1}}"#,
        r#"{"id":"x","content":[{"type":"text","text":"да"},{"type":"tool_use","name":"f","input":{"a":"{\"a\":1}"}}]}"#,
        r#"{"output":[{"type":"message","content":[{"type":"output_text","text":"да"}]},{"type":"function_call","arguments":"{\"a\":1}"}]}"#,
    ] {
        let texts = of_answer(body.as_bytes());
        assert_eq!(texts.len(), 1);
        assert!(texts[0].text.contains("да") && texts[0].text.contains("{\"a\":1}"), "{texts:?}");
        assert_eq!(texts[0].parts(), 2);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let texts = of_request(&body);
        prop_assert_eq!(&*rewritten(&body, &texts, &[]), &*body);
        of_answer(&body);
    }

    #[test]
    fn any_text_keeps_its_neighbours(text in "\\PC{1,40}", before in "\\PC{0,20}") {
        let body = serde_json::json!({"messages": [
            {"role": "user", "content": [{"type": "text", "text": before}, {"type": "text", "text": text}]},
        ]}).to_string();
        let texts = of_request(body.as_bytes());
        let start = texts[0].text.len() - text.len();
        let edit = Edit { text: 0, span: start..texts[0].text.len(), by: "X".to_owned() };
        let new: serde_json::Value =
            serde_json::from_slice(&rewritten(body.as_bytes(), &texts, &[edit])).unwrap();
        prop_assert_eq!(&new["messages"][0]["content"][0]["text"], &serde_json::Value::from(before));
        prop_assert_eq!(&new["messages"][0]["content"][1]["text"], "X");
    }
}
