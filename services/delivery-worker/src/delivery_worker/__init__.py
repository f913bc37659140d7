"""The delivery worker: persists messages and acknowledgements to MySQL, and routes what came of them."""
