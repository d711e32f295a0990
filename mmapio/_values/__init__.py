"""Values that are stored as items: exactly as they were given, or refused, whatever holds them.

numpy looks at what holds a value before it looks at the value. It refuses the Python number 300 for
an int8, and stores 44 if a numpy scalar, an array or a Series holds it; it cuts texts and dates and
drops masks. Here the value decides, for a number, a list, an array and anything else alike:

- Booleans, integers, floats, complex numbers, dates, periods, texts and records are kinds. A number
  may be stored as a kind further up, an integer as a float for one, and never as one further down.
- An integer is stored exactly; a float is rounded to the nearest one, but not to infinity; dates
  and periods keep their units' parts, and texts all of their characters.
- Records are stored field by field, from records whose fields have the same names.
"""

from .items import ItemStore, as_items, store_item
from .natural import as_array

__all__ = ["ItemStore", "as_array", "as_items", "store_item"]
