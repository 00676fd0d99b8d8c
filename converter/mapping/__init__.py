"""The mapping language: templates, rules, the layer-kind catalogue, mapping files, the library."""
