module posthouse.example/job

go 1.18

require posthouse.example/client v0.0.0

require gopkg.in/validator.v2 v2.0.1 // indirect

// The folder that openapi-generator wrote.
replace posthouse.example/client => ./client
