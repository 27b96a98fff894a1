"""The paper's protocol on GLUE: fine-tune, compress, fine-tune again; measured at every step."""
