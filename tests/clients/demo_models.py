"""Public model names of the demo, one for each provider."""

CHAT_MODELS = ["gigachat", "yandexgpt", "qwen", "cloudru", "vllm", "openai", "azure", "anthropic"]
EMBEDDING_MODELS = [
    "gigachat-embeddings",
    "yandexgpt-embeddings",
    "qwen-embeddings",
    "cloudru-embeddings",
    "vllm-embeddings",
    "openai-embeddings",
    "azure-embeddings",
]
