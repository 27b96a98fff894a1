"""What a smaller embedding is worth: quick checks, and GLUE after the paper's protocol."""
