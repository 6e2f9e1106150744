"""`python -m hybridc.std`: check the standard library and keep the result, so that the first program need not."""

from hybridc.link.std_cache import standard

print(f"{len(standard())} standard modules checked")
